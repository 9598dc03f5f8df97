-- What a shadow says of exceptions counts as said now: who reads on from a version must not miss it.
INSERT INTO {shadow:Identifier}.exceptions
SELECT * REPLACE ({version:UInt64} AS version)
FROM {shadow:Identifier}.exceptions FINAL
WHERE version > {snapshot:UInt64}
