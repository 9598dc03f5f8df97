-- The pieces of a log that is kept whole, page by page in their order; one that was sent twice is there once.
SELECT
    toInt64(SpanAttributes['ocel.number']) AS number,
    arrayMap(
        part -> part.2,
        arraySort(
            part -> toUInt32(part.1),
            arrayMap(
                part -> (substring(part.1, length('ocel.part.') + 1), part.2),
                arrayFilter(part -> startsWith(part.1, 'ocel.part.'), arrayZip(mapKeys(SpanAttributes), mapValues(SpanAttributes)))
            )
        )
    ) AS parts
FROM otel_traces
WHERE SpanAttributes['ocel.log'] = {log:String}
    AND toInt64(SpanAttributes['ocel.number']) > {behind:Int64}
ORDER BY number
LIMIT 1 BY number
LIMIT {limit:UInt32}
