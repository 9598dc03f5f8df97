-- The parts that spans, or their links, are stored in at the moment.
SELECT name
FROM system.parts
WHERE active
    AND database = currentDatabase()
    AND table = {table:String}
