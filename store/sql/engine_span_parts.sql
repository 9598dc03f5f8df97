-- The parts that spans are stored in at the moment.
SELECT name
FROM system.parts
WHERE active
    AND database = currentDatabase()
    AND table = 'otel_traces'
