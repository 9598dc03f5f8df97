-- Whom a deadline is about, so that each is compared with its own past.
ALTER TABLE deadlines ADD COLUMN IF NOT EXISTS counterparty String CODEC(ZSTD(1)) AFTER source;
