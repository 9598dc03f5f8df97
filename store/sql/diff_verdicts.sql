-- Verdicts that differ after a change, on transactions that are there before and after.
WITH
    there AS (
        SELECT anchor FROM {old:Identifier}.transactions FINAL WHERE flow = {flow:String}
        INTERSECT DISTINCT
        SELECT anchor FROM {new:Identifier}.transactions FINAL WHERE flow = {flow:String}
    ),
    old AS (
        SELECT anchor, trimRight(concat(rule, ' ', subject)) AS about, toString(state) AS verdict
        FROM {old:Identifier}.deadlines FINAL
        WHERE flow = {flow:String} AND anchor IN (SELECT anchor FROM there)
        UNION ALL
        SELECT anchor, concat(rule, ' line ', line) AS about, trimRight(concat(status, ' ', reason)) AS verdict
        FROM {old:Identifier}.reconciliations FINAL
        WHERE flow = {flow:String} AND anchor IN (SELECT anchor FROM there)
    ),
    new AS (
        SELECT anchor, trimRight(concat(rule, ' ', subject)) AS about, toString(state) AS verdict
        FROM {new:Identifier}.deadlines FINAL
        WHERE flow = {flow:String} AND anchor IN (SELECT anchor FROM there)
        UNION ALL
        SELECT anchor, concat(rule, ' line ', line) AS about, trimRight(concat(status, ' ', reason)) AS verdict
        FROM {new:Identifier}.reconciliations FINAL
        WHERE flow = {flow:String} AND anchor IN (SELECT anchor FROM there)
    )
SELECT
    if(old.verdict != '', old.anchor, new.anchor) AS anchor,
    if(old.verdict != '', old.about, new.about) AS about,
    old.verdict AS old_verdict,
    new.verdict AS new_verdict
FROM old
FULL OUTER JOIN new ON old.anchor = new.anchor AND old.about = new.about
WHERE old_verdict != new_verdict
ORDER BY anchor, about
