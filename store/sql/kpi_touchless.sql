-- Transactions completed in the time range without a step by a person. Nothing can be said of one whose steps do not say
-- who acted: it is in neither part.
WITH
    done AS (
        SELECT
            flow,
            anchor.type,
            anchor.scope,
            anchor.value
        FROM transactions FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
            AND state = 'completed'
            AND last_step_at >= {since:DateTime64(6, 'UTC')}
            AND last_step_at < {until:DateTime64(6, 'UTC')}
    ),
    members AS (
        SELECT
            flow,
            anchor,
            trace_id,
            span_id
        FROM transaction_steps FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
            AND (flow, anchor.type, anchor.scope, anchor.value) IN (SELECT * FROM done)
    )
SELECT
    'touchless_rate' AS name,
    '' AS label,
    '' AS currency,
    toDecimal128(countIf(people = 0), 6) AS numerator,
    toDecimal128(count(), 6) AS denominator
FROM (
    SELECT
        flow,
        anchor,
        countIf(actor = 'human') AS people
    FROM members
    INNER JOIN (
        SELECT
            flow,
            trace_id,
            span_id,
            actor
        FROM steps FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
            AND actor != ''
            AND (flow, trace_id, span_id) IN (SELECT flow, trace_id, span_id FROM members)
    ) AS acted USING (flow, trace_id, span_id)
    GROUP BY
        flow,
        anchor
)
LIMIT {limit:UInt32}
