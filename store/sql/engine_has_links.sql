-- One row when there are span links, none otherwise.
SELECT 1 AS found
FROM span_links
LIMIT 1
