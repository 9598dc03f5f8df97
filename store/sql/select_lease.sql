-- The last term of a lease.
SELECT
    name,
    term,
    owner,
    until
FROM leases FINAL
WHERE name = {name:String}
