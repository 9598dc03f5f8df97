SELECT count()
FROM otel_traces
WHERE ServiceName IN {services:Array(String)}
    AND Timestamp >= {since:DateTime64(9, 'UTC')}
