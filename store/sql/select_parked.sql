-- Steps without a way up; filters and page are appended by the builder.
SELECT
    flow,
    trace_id,
    span_id,
    state,
    reason,
    candidates,
    is_deleted,
    version
FROM parked_steps FINAL
