-- When each system was last heard of, the most silent first. A sender that makes names up must not crowd out the
-- others: those with the most spans are listed one by one, all the rest as one.
SELECT
    if(rank <= {limit:UInt32}, name, {overflow:String}) AS system,
    max(seen_at) AS last_span_at,
    max(heard_at) AS last_loaded_at,
    sum(counted) AS spans,
    count() AS systems
FROM (
    SELECT
        toString(source_watermarks.system) AS name,
        max(source_watermarks.last_span_at) AS seen_at,
        max(source_watermarks.last_loaded_at) AS heard_at,
        sum(source_watermarks.spans) AS counted,
        row_number() OVER (ORDER BY counted DESC, name) AS rank
    FROM source_watermarks
    GROUP BY name
)
GROUP BY system
ORDER BY last_loaded_at, system
LIMIT {limit:UInt32} + 1
