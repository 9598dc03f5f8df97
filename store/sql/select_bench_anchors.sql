-- Some transactions, whichever: by the hash of their anchor, so that every run of the same store takes the same.
SELECT anchor
FROM transactions FINAL
ORDER BY cityHash64(anchor)
LIMIT {limit:UInt32}
