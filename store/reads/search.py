"""Search over transactions."""

from clickhouse_connect.driver.client import Client

from controltower.store.queries import count_transactions, transactions
from controltower.store.reads.answers import SearchFilters, SearchPage
from controltower.store.reads.fetch import fetch, fetch_records
from controltower.store.rows import Transaction


def search(client: Client, filters: SearchFilters) -> SearchPage:
    """Return the page of transactions that *filters* asks for, and the total. Two queries."""
    rows = fetch(client, transactions(filters), Transaction)
    (counted,) = fetch_records(client, count_transactions(filters))
    return SearchPage(rows, int(counted["total"]))
