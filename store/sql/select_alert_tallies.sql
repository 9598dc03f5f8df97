-- What the members of these causes come to. A transaction counts once, with its whole amount; lines that do not match add up.
SELECT
    cause,
    uniqExactIf(anchor, open_here > 0) AS open,
    ['notice', 'warning', 'page'][max(rank_here)] AS severity,
    sumMapIf(map(currency, amount_here), open_here > 0) AS amounts,
    min(first_here) AS first_opened_at,
    max(last_here) AS last_opened_at,
    max(resolved_here) AS last_resolved_at
FROM (
    SELECT
        cause,
        anchor,
        currency,
        countIf(state = 'firing') AS open_here,
        -- A word that is not known counts as a warning, as everywhere.
        max(if(state = 'firing', transform(severity, ['notice', 'page'], [1, 3], 2), 1)) AS rank_here,
        if(kind = 'match', sumIf(amount, state = 'firing'), maxIf(amount, state = 'firing')) AS amount_here,
        min(opened_at) AS first_here,
        max(opened_at) AS last_here,
        maxIf(resolved_at, state = 'resolved') AS resolved_here
    FROM alerts FINAL
    WHERE cause IN {causes:Array(String)}
    GROUP BY
        cause,
        anchor,
        kind,
        currency
)
GROUP BY cause
