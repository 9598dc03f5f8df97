-- Figures over the steps of the time range; a failed attempt carries no document.
SELECT
    figure.1 AS name,
    '' AS label,
    '' AS currency,
    toDecimal128(figure.2, 6) AS numerator,
    toDecimal128(figure.3, 6) AS denominator
FROM (
    SELECT
        count() AS attempts,
        countIf(failed) AS failures,
        countIf(NOT failed AND stage != '') AS documents,
        countIf(NOT failed AND stage != '' AND outcome = 'duplicate') AS duplicates,
        countIf(replay_of != '') AS replays
    FROM steps FINAL
    WHERE ({flow:String} = '' OR flow = {flow:String})
        AND at >= {since:DateTime64(6, 'UTC')}
        AND at < {until:DateTime64(6, 'UTC')}
)
ARRAY JOIN [
    ('duplicate_rate', duplicates, documents),
    ('failed_attempt_rate', failures, attempts),
    ('replay_rate', replays, attempts)
] AS figure
LIMIT {limit:UInt32}
