-- The engine and `trace` look single rows up in tables of millions, and read a granule and a compressed block of each column
-- for every row they find. With 256 rows instead of 8,192 in a granule, and 8 KiB instead of 64 in a block, that is a
-- fraction of the work, for about a tenth more on the disk. Where whole rows are read, all columns of a granule lie beside
-- each other in one file (compact parts), which costs another fifth. Granules are fixed when a table is made, so each is
-- made anew and filled from the one before. What is cut off can be run again: rows that are copied twice replace each other.
DROP VIEW IF EXISTS steps_to_step_keys;

CREATE TABLE steps_fine AS steps
ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, trace_id, span_id)
SETTINGS
    index_granularity = 256,
    min_bytes_for_wide_part = 1000000000000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO steps_fine SELECT * FROM steps;
EXCHANGE TABLES steps_fine AND steps;
DROP TABLE IF EXISTS steps_fine SYNC;

CREATE TABLE document_lines_fine AS document_lines
ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, trace_id, span_id, position)
SETTINGS
    index_granularity = 256,
    min_bytes_for_wide_part = 1000000000000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO document_lines_fine SELECT * FROM document_lines;
EXCHANGE TABLES document_lines_fine AND document_lines;
DROP TABLE IF EXISTS document_lines_fine SYNC;

CREATE TABLE step_keys_fine AS step_keys
ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, type, value, scope, trace_id, span_id)
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 8192,
    max_compress_block_size = 65536,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO step_keys_fine SELECT * FROM step_keys;
EXCHANGE TABLES step_keys_fine AND step_keys;
DROP TABLE IF EXISTS step_keys_fine SYNC;

CREATE TABLE key_links_fine AS key_links
ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, child.type, child.value, child.scope, parent.type, parent.value, parent.scope, trace_id, span_id)
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 8192,
    max_compress_block_size = 65536,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO key_links_fine SELECT * FROM key_links;
EXCHANGE TABLES key_links_fine AND key_links;
DROP TABLE IF EXISTS key_links_fine SYNC;

CREATE TABLE transaction_steps_fine AS transaction_steps
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, trace_id, span_id)
SETTINGS
    index_granularity = 256,
    min_bytes_for_wide_part = 1000000000000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO transaction_steps_fine SELECT * FROM transaction_steps;
EXCHANGE TABLES transaction_steps_fine AND transaction_steps;
DROP TABLE IF EXISTS transaction_steps_fine SYNC;

CREATE TABLE parked_steps_fine AS parked_steps
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, trace_id, span_id)
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 8192,
    max_compress_block_size = 65536,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO parked_steps_fine SELECT * FROM parked_steps;
EXCHANGE TABLES parked_steps_fine AND parked_steps;
DROP TABLE IF EXISTS parked_steps_fine SYNC;

CREATE TABLE transactions_fine AS transactions
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope)
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 8192,
    max_compress_block_size = 65536,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO transactions_fine SELECT * FROM transactions;
EXCHANGE TABLES transactions_fine AND transactions;
DROP TABLE IF EXISTS transactions_fine SYNC;

CREATE TABLE transaction_history_fine AS transaction_history
ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, known_at)
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 8192,
    max_compress_block_size = 65536,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO transaction_history_fine SELECT * FROM transaction_history;
EXCHANGE TABLES transaction_history_fine AND transaction_history;
DROP TABLE IF EXISTS transaction_history_fine SYNC;

CREATE TABLE deadlines_fine AS deadlines
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, rule, subject)
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 8192,
    max_compress_block_size = 65536,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO deadlines_fine SELECT * FROM deadlines;
EXCHANGE TABLES deadlines_fine AND deadlines;
DROP TABLE IF EXISTS deadlines_fine SYNC;

CREATE TABLE reconciliations_fine AS reconciliations
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, rule, line)
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 8192,
    max_compress_block_size = 65536,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO reconciliations_fine SELECT * FROM reconciliations;
EXCHANGE TABLES reconciliations_fine AND reconciliations;
DROP TABLE IF EXISTS reconciliations_fine SYNC;

CREATE TABLE exceptions_fine AS exceptions
ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, kind, rule, subject)
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 8192,
    max_compress_block_size = 65536,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
INSERT INTO exceptions_fine SELECT * FROM exceptions;
EXCHANGE TABLES exceptions_fine AND exceptions;
DROP TABLE IF EXISTS exceptions_fine SYNC;

CREATE MATERIALIZED VIEW steps_to_step_keys TO step_keys AS
SELECT
    flow,
    key.type AS type,
    key.value AS value,
    key.scope AS scope,
    trace_id,
    span_id,
    at,
    version
FROM (SELECT flow, arrayJoin(keys) AS key, trace_id, span_id, at, version FROM steps);
