-- One transaction by its anchor.
SELECT
    flow,
    anchor,
    flow_version,
    state,
    started_at,
    last_step_at,
    stage,
    stages,
    systems,
    steps,
    keys,
    context,
    amount,
    currency,
    amounts,
    at_stake,
    open_deadlines,
    breached_deadlines,
    next_due_at,
    open_exceptions,
    evaluate_at,
    attributed_steps,
    human_steps,
    is_deleted,
    version
FROM transactions FINAL
WHERE flow = {flow:String}
    AND anchor.type = {type:String}
    AND anchor.value = {value:String}
    AND anchor.scope = {scope:String}
LIMIT 1
