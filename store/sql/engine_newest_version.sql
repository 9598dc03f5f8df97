-- The highest version ever written, whichever way the clock went since; 0 in an empty store.
SELECT greatest(
    (SELECT max(version) FROM key_links),
    (SELECT max(version) FROM transaction_steps),
    (SELECT max(version) FROM parked_steps),
    (SELECT max(version) FROM deadlines),
    (SELECT max(version) FROM transactions),
    (SELECT max(version) FROM steps)
) AS newest
