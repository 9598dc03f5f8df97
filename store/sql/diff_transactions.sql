-- Transactions that differ after a change, each as it was and as it is; without steps where it is not there.
SELECT
    if(old.steps > 0, old.anchor, new.anchor) AS anchor,
    if(old.steps > 0, old.currency, new.currency) AS currency,
    old.steps AS old_steps,
    new.steps AS new_steps,
    old.state AS old_state,
    new.state AS new_state,
    ifNull(old.amount, 0) AS old_amount,
    ifNull(new.amount, 0) AS new_amount,
    old.at_stake AS old_at_stake,
    new.at_stake AS new_at_stake
FROM (SELECT * FROM {old:Identifier}.transactions FINAL WHERE flow = {flow:String}) AS old
FULL OUTER JOIN (SELECT * FROM {new:Identifier}.transactions FINAL WHERE flow = {flow:String}) AS new
    ON old.anchor = new.anchor
WHERE (old_steps, old_state, old_amount, old_at_stake) != (new_steps, new_state, new_amount, new_at_stake)
ORDER BY anchor
