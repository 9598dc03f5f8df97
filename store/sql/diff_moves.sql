-- Steps that are elsewhere after a change, counted by where they were and where they are; an empty anchor is no transaction.
WITH
    steps_of_both AS (
        SELECT trace_id, span_id FROM {old:Identifier}.steps WHERE flow = {flow:String}
        INTERSECT DISTINCT
        SELECT trace_id, span_id FROM {new:Identifier}.steps WHERE flow = {flow:String}
    ),
    old AS (
        SELECT anchor, trace_id, span_id
        FROM {old:Identifier}.transaction_steps FINAL
        WHERE flow = {flow:String} AND (trace_id, span_id) IN (SELECT * FROM steps_of_both)
    ),
    new AS (
        SELECT anchor, trace_id, span_id
        FROM {new:Identifier}.transaction_steps FINAL
        WHERE flow = {flow:String} AND (trace_id, span_id) IN (SELECT * FROM steps_of_both)
    )
SELECT
    lost.anchor AS from_anchor,
    gained.anchor AS to_anchor,
    count() AS steps
FROM (SELECT * FROM old EXCEPT DISTINCT SELECT * FROM new) AS lost
FULL OUTER JOIN (SELECT * FROM new EXCEPT DISTINCT SELECT * FROM old) AS gained
    ON lost.trace_id = gained.trace_id AND lost.span_id = gained.span_id
GROUP BY from_anchor, to_anchor
ORDER BY from_anchor, to_anchor
