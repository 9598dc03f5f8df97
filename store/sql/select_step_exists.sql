-- Whether a step is stored.
SELECT count() > 0 AS found
FROM steps
WHERE flow = {flow:String}
    AND trace_id = {trace_id:String}
    AND span_id = {span_id:String}
