-- What is known of the looked-up transactions: exceptions.
SELECT *
FROM exceptions FINAL
WHERE flow = {flow:String}
    AND NOT is_deleted
    AND (anchor.type, anchor.value, anchor.scope) IN (
        SELECT
            type,
            value,
            scope
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
