-- Every correction, in the order of its time.
SELECT
    id,
    flow,
    action,
    key,
    trace_id,
    span_id,
    other,
    undoes,
    user,
    reason,
    at
FROM corrections
ORDER BY at, id
