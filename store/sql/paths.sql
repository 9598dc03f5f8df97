-- The steps of every transaction of a flow that had a step in the time range, each transaction's in order of time. Not a statement of its
-- own: the others of this name go on from here. At the same moment the flow's own order of stages decides.
WITH
    chosen AS (
        SELECT
            anchor.type AS type,
            anchor.scope AS scope,
            anchor.value AS value,
            state,
            amount,
            currency
        FROM transactions FINAL
        WHERE flow = {flow:String}
            AND last_step_at >= {since:DateTime64(6, 'UTC')}
            AND last_step_at < {until:DateTime64(6, 'UTC')}
    ),
    members AS (
        SELECT
            anchor.type AS type,
            anchor.scope AS scope,
            anchor.value AS value,
            trace_id,
            span_id
        FROM transaction_steps FINAL
        WHERE flow = {flow:String}
            AND (anchor.type, anchor.scope, anchor.value) IN (SELECT type, scope, value FROM chosen)
    ),
    seen AS (
        SELECT
            trace_id,
            span_id,
            at,
            observed_at,
            addNanoseconds(observed_at, duration_ns) AS ended_at,
            duration_ns,
            system,
            stage,
            step,
            failed,
            outcome,
            replay_of,
            keys,
            amount,
            currency,
            NOT failed AND (stage, outcome) IN {reaching:Array(Tuple(String, String))} AS reaches
        FROM steps FINAL
        WHERE flow = {flow:String}
            AND (trace_id, span_id) IN (SELECT trace_id, span_id FROM members)
    ),
    -- The stages that a transaction reached, as often as it did, with their times.
    reached AS (
        SELECT
            type,
            scope,
            value,
            arraySort(groupArray((at, indexOf({stages:Array(String)}, stage), trace_id, span_id, stage))) AS in_time,
            arrayMap(one -> toString(one.5), in_time) AS stages,
            arrayMap(one -> one.1, in_time) AS times
        FROM members
        INNER JOIN (SELECT * FROM seen WHERE reaches) AS reaching USING (trace_id, span_id)
        GROUP BY type, scope, value
    ),
