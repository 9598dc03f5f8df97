-- When the last span entered the store, in microseconds since 1970; 0 in an empty store.
SELECT toUnixTimestamp64Micro(max(last_loaded_at)) AS newest
FROM source_watermarks
