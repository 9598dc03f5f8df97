-- Every transaction of a flow with its state.
SELECT
    anchor,
    state
FROM transactions FINAL
WHERE flow = {flow:String}
LIMIT {limit:UInt64}
