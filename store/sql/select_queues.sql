-- The last that was said of each queue within a range, the deepest first. What a broker does not tell is nothing, and not 0.
SELECT
    source,
    host,
    queue,
    readers,
    max(at) AS reported_at,
    if(countIf(name = 'depth') = 0, NULL, argMaxIf(value, at, name = 'depth')) AS depth,
    if(countIf(name = 'lag') = 0, NULL, argMaxIf(value, at, name = 'lag')) AS lag,
    if(countIf(name = 'held') = 0, NULL, argMaxIf(value, at, name = 'held')) AS held,
    if(countIf(name = 'redelivered') = 0, NULL, argMaxIf(value, at, name = 'redelivered')) AS redelivered,
    if(countIf(name = 'oldest') = 0, NULL, argMaxIf(value, at, name = 'oldest')) AS oldest_s,
    if(countIf(name = 'consumers') = 0, NULL, argMaxIf(value, at, name = 'consumers')) AS consumers
FROM queue_samples
WHERE at >= {since:DateTime64(3, 'UTC')}
GROUP BY tenant, source, host, queue, readers
ORDER BY greatest(ifNull(depth, 0), ifNull(lag, 0)) DESC, queue, readers, source, host
LIMIT {limit:UInt32}
