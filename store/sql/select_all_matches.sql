-- Every result of one reconciliation of a flow.
SELECT
    anchor,
    line,
    status,
    reason
FROM reconciliations FINAL
WHERE flow = {flow:String}
    AND rule = {rule:String}
LIMIT {limit:UInt64}
