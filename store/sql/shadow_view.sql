-- In a shadow: key -> step, as in the store itself.
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
FROM (SELECT flow, arrayJoin(keys) AS key, trace_id, span_id, at, version FROM steps)
