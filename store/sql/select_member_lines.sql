-- Document lines carried by some members of a transaction. Without FINAL, which reads all columns wherever an id could be,
-- in each part of the table: this reads the ids alone there, and takes the latest version of what it finds.
SELECT
    flow,
    trace_id,
    span_id,
    position,
    line,
    item,
    quantity,
    uom,
    unit_price,
    amount,
    currency,
    keys,
    version
FROM document_lines
WHERE flow = {flow:String}
    AND (trace_id, span_id) IN {members:Array(Tuple(String, String))}  -- the primary key: their granules only
ORDER BY trace_id, span_id, position, version DESC
LIMIT 1 BY trace_id, span_id, position
LIMIT {limit:UInt32}
