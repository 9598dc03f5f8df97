"""ClickHouse: addresses, schema, loading, the transaction engine and typed reads. The only package with SQL."""
