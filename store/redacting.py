"""Putting a policy in force: the views between decoded and stored rows are replaced in one step each."""

from collections.abc import Sequence
from typing import Final

from clickhouse_connect.driver.exceptions import Error as EngineError

from controltower.store.client import Client, engine_text
from controltower.store.errors import RedactionError
from controltower.store.otlp import CLEAN, decoded
from controltower.store.otlp_logs import LOGS as LOG_ROWS
from controltower.store.otlp_metrics import METRICS as METRIC_ROWS
from controltower.store.otlp_rows import AUDIT_COLUMN, Rows
from controltower.store.otlp_traces import TRACES as TRACE_ROWS
from controltower.store.otlp_traces import clean_select
from controltower.store.redaction import LOGS, METRICS, RESOURCE, SPANS, TRACES, Audited, Redaction
from controltower.store.redaction_view import passing, redacting

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

    Each view is replaced at once: a row is redacted by the policy before or by this one, and so is the resource of spans
    that a clean reading makes. RedactionError when the engine does not take it, and then nothing must be loaded.
    """
    try:
        for view, select in statements(redaction).items():
            client.command(f"ALTER TABLE {view} MODIFY QUERY {select}")
        return _note(client, redaction)
    except EngineError as exc:
        raise RedactionError(
            f"The policy {redaction.name} version {redaction.version} cannot be put in force, so nothing is loaded: "
            f"{engine_text(exc)[:300]}"
        ) from exc


def statements(redaction: Redaction) -> dict[str, str]:
    """Return the views that redact decoded rows, and their SELECTs."""
    made = {
        f"otlp_{rows.signal}_redact": redacting(redaction, places, rows.names, decoded(rows.signal))
        for rows, places in SIGNALS
    }

    def resources(columns: Sequence[str], source: str) -> str:
        return passing(redaction, RESOURCE, columns, source, AUDIT_COLUMN)

    return {
        **made,
        "otlp_traces_clean_decode": clean_select(resources),
        "otlp_traces_clean_redact": passing(redaction, SPANS, TRACE_ROWS.names, decoded("traces", CLEAN), AUDIT_COLUMN),
    }


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
