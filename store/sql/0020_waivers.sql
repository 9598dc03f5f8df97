-- Who waived a deadline, and why.
ALTER TABLE deadlines ADD COLUMN IF NOT EXISTS waived_by String CODEC(ZSTD(1)) AFTER counterparty;
ALTER TABLE deadlines ADD COLUMN IF NOT EXISTS waived_why String CODEC(ZSTD(1)) AFTER waived_by;
