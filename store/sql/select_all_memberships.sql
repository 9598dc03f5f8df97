-- Every membership of a flow, to be compared with a truth in one read.
SELECT
    anchor,
    trace_id,
    span_id,
    -- A step that a scraper read is a child of the span in which its record was written, when the record names one.
    scraped.ParentSpanId AS written_in
FROM transaction_steps FINAL
LEFT ANY JOIN (
    SELECT
        TraceId,
        SpanId,
        ParentSpanId
    FROM otel_traces
    WHERE ScopeName = 'controltower.scrape'
        AND ParentSpanId != ''
) AS scraped
    ON transaction_steps.trace_id = scraped.TraceId AND transaction_steps.span_id = scraped.SpanId
WHERE flow = {flow:String}
LIMIT {limit:UInt64}
