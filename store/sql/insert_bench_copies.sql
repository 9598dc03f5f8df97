-- Copies of the bench's pattern, as transactions of their own: each trace gets another id, each business key another
-- value. Keys without a digit from 1 to 9 ("0000", "N/A") stand for no number and stay, as in the pattern.
INSERT INTO otel_traces (
    Timestamp,
    TraceId,
    SpanId,
    SpanName,
    ServiceName,
    SpanAttributes,
    Duration,
    StatusCode,
    Events.Timestamp,
    Events.Name,
    Events.Attributes
)
SELECT
    Timestamp,
    lower(hex(sipHash128(TraceId, copy))),
    SpanId,
    SpanName,
    ServiceName,
    mapApply((name, text) -> (name, if(startsWith(name, 'controltower.key.'), replaceRegexpAll(
        text, if(startsWith(text, '['), '"([^"]*[1-9][^"]*)"', '^(.*[1-9].*)$'),
        if(startsWith(text, '['), concat('"\\1/', toString(copy), '"'), concat('\\1/', toString(copy)))), text)),
        SpanAttributes),
    Duration,
    StatusCode,
    Events.Timestamp,
    Events.Name,
    arrayMap(event -> mapApply((name, text) -> (name, if(startsWith(name, 'controltower.key.'),
        concat(text, '/', toString(copy)), text)), event), Events.Attributes)
FROM otel_traces
ARRAY JOIN range({first:UInt32}, {last:UInt32}) AS copy
WHERE SegmentId IN {parts:Array(String)}
SETTINGS
    min_insert_block_size_rows = 1000000,  -- one part a day, instead of one a day and block
    max_block_size = 65536
