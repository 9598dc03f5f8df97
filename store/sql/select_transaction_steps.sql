-- Memberships of one transaction, each with its explanation.
SELECT
    flow,
    anchor,
    trace_id,
    span_id,
    stage,
    evidence,
    via,
    through,
    anchors,
    known_at,
    is_deleted,
    version
FROM transaction_steps FINAL
WHERE flow = {flow:String}
    AND anchor.type = {type:String}
    AND anchor.value = {value:String}
    AND anchor.scope = {scope:String}
ORDER BY trace_id, span_id
LIMIT {limit:UInt32}
