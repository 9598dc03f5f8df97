-- How far the spans of one sender came: loaded, and read by the engine once its position has passed the newest span.
SELECT
    (
        SELECT uniqExact(TraceId, SpanId)
        FROM otel_traces
        WHERE ResourceAttributes['service.instance.id'] = {instance:String}
    ) AS loaded,
    (
        SELECT toUnixTimestamp64Micro(max(last_loaded_at))
        FROM source_watermarks
    ) AS newest_us,
    (
        SELECT toInt64OrZero(max(value))
        FROM engine_state FINAL
        WHERE name = 'position_us'
    ) AS position_us
