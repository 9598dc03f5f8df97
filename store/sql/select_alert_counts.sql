-- How many alerts are in each state.
SELECT
    state,
    count() AS alerts
FROM alerts FINAL
GROUP BY state
