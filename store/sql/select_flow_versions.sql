-- What became of every flow that was published, in order of time.
SELECT
    flow,
    version,
    state,
    text,
    shadow,
    snapshot,
    user,
    at
FROM flow_versions
ORDER BY at
