-- What exceptions may have in common, and the alert that tells of those that do.
ALTER TABLE exceptions ADD COLUMN IF NOT EXISTS system LowCardinality(String) AFTER detail;
ALTER TABLE exceptions ADD COLUMN IF NOT EXISTS counterparty String CODEC(ZSTD(1)) AFTER system;
ALTER TABLE exceptions ADD COLUMN IF NOT EXISTS batch String CODEC(ZSTD(1)) AFTER counterparty;

ALTER TABLE alerts ADD COLUMN IF NOT EXISTS system LowCardinality(String) AFTER detail;
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS counterparty String CODEC(ZSTD(1)) AFTER system;
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS batch String CODEC(ZSTD(1)) AFTER counterparty;
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS cause String CODEC(ZSTD(1)) AFTER batch;
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS members UInt32 AFTER cause;
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS grows_until Nullable(DateTime64(6, 'UTC')) AFTER members;
