-- A name for this run of the engine: the table keeps it in memory only, so it is another one after every restart. What
-- was being inserted ended with the run before, and what that run remembered of insert tokens may be lost.
CREATE TABLE engine_life (
    name String
) ENGINE = Memory;
