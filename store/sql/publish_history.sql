-- What became known by the flows in force while a shadow was made: history goes on in the shadow's.
INSERT INTO {shadow:Identifier}.transaction_history
SELECT *
FROM {own:Identifier}.transaction_history
WHERE version > {snapshot:UInt64}
