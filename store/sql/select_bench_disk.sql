-- Rows and bytes as they lie on the disk at the moment: parts that are merged away already do not count.
SELECT
    table,
    sum(rows),
    sum(bytes_on_disk)
FROM system.parts
WHERE database = currentDatabase() AND active
GROUP BY table
ORDER BY table
