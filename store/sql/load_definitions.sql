-- What an insert of messages into an inbox comes to: the columns that are read, the view that makes rows of them, and theirs.
SELECT
    (
        SELECT arrayStringConcat(groupArray(concat('`', name, '` ', type)), ', ')
        FROM (
            SELECT name, type
            FROM system.columns
            WHERE database = currentDatabase() AND table = {inbox:String}
            ORDER BY position)
    ) AS messages,
    (
        SELECT as_select
        FROM system.tables
        WHERE database = currentDatabase() AND name = {decode:String}
    ) AS decode,
    (
        SELECT arrayStringConcat(groupArray(concat('`', name, '`')), ', ')
        FROM (
            SELECT name
            FROM system.columns
            WHERE database = currentDatabase() AND table = {decoded:String}
            ORDER BY position)
    ) AS columns
