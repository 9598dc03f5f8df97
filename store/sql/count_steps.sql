-- How many steps are stored.
SELECT count() AS steps
FROM steps
