-- What a shadow says of exceptions counts as said now: who reads on from a version must not miss it. Those about sources of
-- scrapers, gaps and slots of schedules come from no cycle, so that the shadow does not know all of them.
INSERT INTO {shadow:Identifier}.exceptions
SELECT * REPLACE ({version:UInt64} AS version)
FROM {shadow:Identifier}.exceptions FINAL
WHERE version > {snapshot:UInt64}
UNION ALL
SELECT *
FROM {own:Identifier}.exceptions FINAL
WHERE flow = 'scrape' OR kind IN ('gap', 'schedule')
