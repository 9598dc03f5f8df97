-- Matches of one transaction, line by line.
SELECT
    flow,
    anchor,
    rule,
    line,
    item,
    status,
    reason,
    quantities,
    prices,
    amounts,
    difference,
    currency,
    window_ends_at,
    rule_version,
    is_deleted,
    version
FROM reconciliations FINAL
WHERE flow = {flow:String}
    AND anchor.type = {type:String}
    AND anchor.value = {value:String}
    AND anchor.scope = {scope:String}
ORDER BY rule, toUInt64OrZero(line), line
LIMIT {limit:UInt32}
