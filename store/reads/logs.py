"""What was logged around a transaction: found by the traces of its steps and by its keys."""

from datetime import timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from controltower.store.queries import checked, named, timestamp
from controltower.store.reads.answers import LogRecord, Logs, TransactionView
from controltower.store.reads.fetch import fetch

LOGS_LIMIT: Final = 1_000  # records of one transaction; a batch job logs more than anybody reads
BODY_LIMIT: Final = 4_000  # characters of one record
LOG_TRACES: Final = 500
LOG_KEYS: Final = 500
LOG_MARGIN: Final = timedelta(days=1)  # what is logged about a document is logged around its steps


def logs_of(client: Client, view: TransactionView, limit: int = LOGS_LIMIT) -> Logs:
    """Return the records of the transaction's traces, and those that carry one of its keys, in order of time.

    Bounded by number and, a day around the steps, in time; ``truncated`` says that more is stored than is returned.
    """
    steps = [member.step for member in view.members]
    traces = list(dict.fromkeys(step.trace_id for step in steps if step.trace_id))
    keys = view.transaction.keys
    if not steps:
        return Logs(())
    variants = [
        (key.type, spelling, key.scope) for key in keys[:LOG_KEYS] for spelling in {key.value, key.value.lower()}
    ]
    query = named(
        "select_logs",
        traces=traces[:LOG_TRACES],
        keys=[(type_, value) for type_, value, _ in variants],
        scoped=variants,
        anywhere=[(type_, value) for type_, value, scope in variants if not scope],
        since=timestamp(min(min(step.at, step.observed_at) for step in steps) - LOG_MARGIN),
        until=timestamp(max(max(step.at, step.observed_at) for step in steps) + LOG_MARGIN),
        body=BODY_LIMIT,
        limit=checked(limit, LOGS_LIMIT) + 1,
    )
    found = fetch(client, query, LogRecord)
    return Logs(found[:limit], len(found) > limit or len(traces) > LOG_TRACES or len(keys) > LOG_KEYS)
