-- The flows that steps are stored of.
SELECT DISTINCT flow
FROM steps
ORDER BY flow
