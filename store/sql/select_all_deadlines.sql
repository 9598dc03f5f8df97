-- Every deadline of a flow.
SELECT
    anchor,
    rule,
    subject,
    from_at,
    due_at,
    met_at,
    state
FROM deadlines FINAL
WHERE flow = {flow:String}
LIMIT {limit:UInt64}
