-- How many steps of publications there are; they only become more.
SELECT count() AS versions
FROM flow_versions
