-- Alerts for people: those in one state (all when empty), the latest decision first.
SELECT *
FROM alerts FINAL
WHERE {state:String} IN ('', state)
ORDER BY decided_at DESC, dedup_key
LIMIT {limit:UInt32}
