"""Putting a policy in force: the views between decoded and stored rows are replaced in one step each."""

from typing import Final

from clickhouse_connect.driver.exceptions import Error as EngineError

from controltower.store.client import Client, engine_text
from controltower.store.errors import RedactionError
from controltower.store.otlp_logs import LOGS as LOG_ROWS
from controltower.store.otlp_metrics import METRICS as METRIC_ROWS
from controltower.store.otlp_rows import Rows
from controltower.store.otlp_traces import TRACES as TRACE_ROWS
from controltower.store.redaction import LOGS, METRICS, TRACES, Audited, Redaction
from controltower.store.redaction_view import redacting

SIGNALS: Final[tuple[tuple[Rows, Audited], ...]] = (
    (TRACE_ROWS, TRACES),
    (LOG_ROWS, LOGS),
    (METRIC_ROWS, METRICS),
)

CURRENT: Final = "SELECT Digest, KeyVersions FROM redaction_policies ORDER BY AppliedAt DESC LIMIT 1"
NOTE: Final = (
    "INSERT INTO redaction_policies (Policy, Version, Digest, KeyVersions) "
    "SELECT {name:String}, {version:UInt32}, {digest:String}, {keys:Array(UInt16)}"
)


def apply_redaction(client: Client, redaction: Redaction) -> bool:
    """Redact what is loaded from now on by *redaction*; returns whether that is another policy than before.

    Each view is replaced at once: a row is redacted by the policy before or by this one. RedactionError when the
    engine does not take it, and then nothing must be loaded.
    """
    try:
        for rows, places in SIGNALS:
            client.command(f"ALTER TABLE otlp_{rows.signal}_redact MODIFY QUERY {statement(redaction, rows, places)}")
        return _note(client, redaction)
    except EngineError as exc:
        raise RedactionError(
            f"The policy {redaction.name} version {redaction.version} cannot be put in force, so nothing is loaded: "
            f"{engine_text(exc)[:300]}"
        ) from exc


def statement(redaction: Redaction, rows: Rows, places: Audited) -> str:
    """Return the SELECT of the view that redacts the decoded rows of a signal."""
    columns = [name for name, _ in rows.columns]
    return redacting(redaction, places, columns, f"otlp_{rows.signal}_decoded")


def _note(client: Client, redaction: Redaction) -> bool:
    before = client.query(CURRENT).result_rows
    if before and tuple(before[0]) == (redaction.digest, list(redaction.key_versions)):
        return False
    values = {
        "name": redaction.name,
        "version": redaction.version,
        "digest": redaction.digest,
        "keys": list(redaction.key_versions),
    }
    client.command(NOTE, parameters=values)
    return True
