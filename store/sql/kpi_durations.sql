-- How long it took from one stage to the other where a rule watches the way, for those that arrived in the time range.
-- Seconds in the numerator, how many were measured in the denominator; in all and by vendor (the most frequent first).
WITH
    -- which way, between which stages, at which share of the cases
    [
        ('supplier_response_p50', 'dispatched', 'acknowledged'),
        ('supplier_response_p90', 'dispatched', 'acknowledged'),
        ('order_to_pay_p50', 'created', 'paid'),
        ('invoice_to_paid_p50', 'invoiced', 'paid')
    ] AS ways,
    vendors AS (
        SELECT
            flow,
            anchor.type AS type,
            anchor.scope AS scope,
            anchor.value AS value,
            context['vendor'] AS vendor
        FROM transactions FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
            AND last_step_at >= {since:DateTime64(6, 'UTC')}
    )
SELECT
    way.1 AS name,
    vendor AS label,
    '' AS currency,
    toDecimal128(if(endsWith(name, '_p90'), quantileExact(0.9)(seconds), quantileExact(0.5)(seconds)), 6) AS numerator,
    toDecimal128(count(), 6) AS denominator
FROM (
    SELECT
        from_stage,
        to_stage,
        dateDiff('second', from_at, assumeNotNull(met_at)) AS seconds,
        if(empty(vendors.vendor), 'unknown vendor', vendors.vendor) AS vendor
    FROM (
        SELECT
            flow,
            anchor.type AS type,
            anchor.scope AS scope,
            anchor.value AS value,
            from_stage,
            to_stage,
            from_at,
            met_at
        FROM deadlines FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
            AND met_at >= {since:DateTime64(6, 'UTC')}
            AND met_at < {until:DateTime64(6, 'UTC')}
            AND met_at >= from_at  -- an answer recorded before its question says nothing of the time it took
    ) AS reached
    LEFT JOIN vendors USING (flow, type, scope, value)
)
ARRAY JOIN ways AS way
WHERE from_stage = way.2 AND to_stage = way.3
GROUP BY
    GROUPING SETS ((way), (way, vendor))
ORDER BY
    name,
    empty(label) DESC,
    denominator DESC,
    label
LIMIT 11 BY name
LIMIT {limit:UInt32}
