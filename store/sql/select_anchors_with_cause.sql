-- Transactions with an open alert that a cause tells of.
SELECT
    flow,
    anchor.type,
    anchor.scope,
    anchor.value
FROM alerts FINAL
WHERE cause = {cause:String}
    AND state = 'firing'
