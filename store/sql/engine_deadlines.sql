-- What is known of the looked-up transactions: deadlines.
SELECT *
FROM deadlines FINAL
WHERE flow = {flow:String}
    AND (anchor.type, anchor.value, anchor.scope) IN (
        SELECT
            type,
            value,
            scope
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
