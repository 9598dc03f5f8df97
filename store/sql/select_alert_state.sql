-- A named fact of the alert worker.
SELECT
    name,
    value,
    version
FROM alert_state FINAL
WHERE name = {name:String}
