-- After a power cut files of the newest parts are empty, short or missing. The engine sets such parts aside when it starts,
-- and refuses to start when they are more than a few: but what the journal feeds is loaded from it again, so it must start.
ALTER TABLE otel_traces
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_traces_trace_id_ts
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE span_keys
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE source_watermarks
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_traces_quarantine
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_logs
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE log_keys
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_logs_quarantine
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_metrics_gauge
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_metrics_sum
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_metrics_histogram
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_metrics_exp_histogram
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_metrics_summary
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE otel_metrics_quarantine
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE redactions
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE collector_samples
    MODIFY SETTING max_suspicious_broken_parts = 1000000, max_suspicious_broken_parts_bytes = 1000000000000;

-- What nothing feeds again is on the disk before an insert returns: the results of the engine before its progress, what was
-- sent and to whom, and which migrations are applied.
ALTER TABLE schema_version
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE steps
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE document_lines
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE step_keys
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE key_links
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE transaction_steps
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE parked_steps
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE transactions
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE transaction_history
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE deadlines
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE reconciliations
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE exceptions
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE engine_state
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE alerts
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE deliveries
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE alert_state
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE leases
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
ALTER TABLE redaction_policies
    MODIFY SETTING
        fsync_after_insert = 1,
        fsync_part_directory = 1,
        max_suspicious_broken_parts = 1000000,
        max_suspicious_broken_parts_bytes = 1000000000000;
