-- Active parts of the fullest partition of our tables, and at how many the engine slows inserts down.
SELECT
    (SELECT toUInt64(value) FROM system.merge_tree_settings WHERE name = 'parts_to_delay_insert'),
    max(parts)
FROM (
    SELECT count() AS parts
    FROM system.parts
    WHERE database = currentDatabase() AND active
    GROUP BY table, partition_id
)
