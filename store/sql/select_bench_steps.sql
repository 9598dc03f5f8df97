SELECT
    (SELECT count() FROM steps FINAL),
    (SELECT count() FROM transactions FINAL)
