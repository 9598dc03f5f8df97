-- How many corrections there are.
SELECT count() AS corrections
FROM corrections
