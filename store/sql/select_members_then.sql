-- Memberships of one transaction as they were known at a time.
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
    version
FROM transaction_steps FINAL
WHERE flow = {flow:String}
    AND anchor.type = {type:String}
    AND anchor.value = {value:String}
    AND anchor.scope = {scope:String}
    AND known_at <= {then:DateTime64(6, 'UTC')}
UNION ALL
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
    version
FROM past_memberships FINAL
WHERE flow = {flow:String}
    AND anchor.type = {type:String}
    AND anchor.value = {value:String}
    AND anchor.scope = {scope:String}
    AND known_at <= {then:DateTime64(6, 'UTC')}
    AND known_until > {then:DateTime64(6, 'UTC')}
LIMIT {limit:UInt32}
