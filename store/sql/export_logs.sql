-- The names of the logs that are kept whole.
SELECT DISTINCT SpanAttributes['ocel.log'] AS log
FROM otel_traces
WHERE SpanAttributes['ocel.log'] != ''
ORDER BY log
