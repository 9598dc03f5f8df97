"""What a notification says: the JSON of one alert, in business words and below 20 kB; pure.

Holds only what the exception holds. The receiver gets the keys and a link; who may see more signs in to the dashboard.
"""

import json
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from controltower.alerts.decide import Reason
from controltower.store.alert_rows import Alert

# Characters, at most four bytes each: together they stay below the 20 kB of the specification.
SUMMARY_LIMIT: Final = 1_000
VALUE_LIMIT: Final = 256
URL_LIMIT: Final = 2_048
BODY_LIMIT: Final = 20_000
EVENTS: Final = {Reason.RESOLVED: "resolved", Reason.RETRACTED: "retracted"}
SILENT: Final = "silent"  # of a source: the overview shows when each was heard of
SOURCE: Final = "source"  # of a scraper's source: the page of sources says what is known of it
GAP: Final = "gap"  # of numbers that follow each other
SCHEDULE: Final = "schedule"  # of something that must come again and again
OF_NONE: Final = (SILENT, SOURCE, GAP, SCHEDULE)  # kinds of what is no transaction
CAUSE: Final = "cause"  # of several exceptions: the list shows their transactions
LINKED: Final = "transaction"  # the dashboard's page of one transaction
ELLIPSIS: Final = "…"


def event(alert: Alert) -> str:
    """Return the kind of notification that the alert's last decision makes: firing, resolved or retracted."""
    return EVENTS.get(Reason(alert.decision), "firing")


def build(alert: Alert, dashboard_url: str) -> str:
    """Return the body of the notification about the alert's last decision."""
    data = {
        "dedup_key": alert.dedup_key,
        "severity": _short(alert.severity),
        "flow": _short(alert.flow),
        "anchor": {
            "type": _short(alert.anchor.type),
            "scope": _short(alert.anchor.scope),
            "value": _short(alert.anchor.value),
        },
        "kind": _short(alert.kind),
        "rule": _short(alert.rule),
        "reason": _short(alert.reason),
        "subject": _short(alert.subject),
        "decision": alert.decision,
        "summary": summary(alert),
        "amount": _decimal(alert.amount),
        "currency": _short(alert.currency),
        "transactions": alert.members if alert.kind == CAUSE else int(alert.kind not in OF_NONE),
        "opened_at": _iso(alert.opened_at),
        "resolved_at": None if alert.resolved_at is None else _iso(alert.resolved_at),
        "url": link(alert, dashboard_url),
    }
    body = {"type": f"controltower.alert.{event(alert)}", "timestamp": _iso(alert.decided_at), "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def summary(alert: Alert) -> str:
    """Return one sentence in business words."""
    told = alert.detail.strip() or _composed(alert)
    prefix = {"resolved": "Resolved: ", "retracted": "Retracted after a correction: "}.get(event(alert), "")
    return _short(f"{prefix}{told}", SUMMARY_LIMIT)


def link(alert: Alert, dashboard_url: str) -> str | None:
    """Return the address of the transaction's page, of the list for a cause, or of the overview for a source; nothing
    without a dashboard, or where it would be too long."""
    if not dashboard_url:
        return None
    if alert.kind in (SILENT, GAP, SCHEDULE):
        return dashboard_url
    if alert.kind == SOURCE:
        return f"{dashboard_url}/sources"
    if alert.kind == CAUSE:
        return f"{dashboard_url}/transactions?{urlencode({'cause': alert.dedup_key})}"
    anchor = alert.anchor
    named = {"flow": alert.flow, "type": anchor.type, "scope": anchor.scope, "value": anchor.value}
    query = urlencode(named, errors="replace")
    url = f"{dashboard_url}/{LINKED}?{query}"
    return url if len(url) <= URL_LIMIT else None


def _composed(alert: Alert) -> str:
    thing = f"{alert.anchor.type.replace('_', ' ').capitalize()} {alert.anchor.value}"
    of = f" ({alert.subject})" if alert.subject else ""
    what = {"deadline": "is late for", "match": "does not add up in"}.get(alert.kind, "needs attention:")
    money = f", {_money(alert.amount)} {alert.currency} at stake".rstrip() if alert.amount else ""
    return f"{thing} {what} {alert.rule.replace('_', ' ')}{of}{money}."


def _decimal(amount: Decimal) -> str:
    """Return *amount* exactly, with at least two decimals."""
    places = max(2, -int(amount.normalize().as_tuple().exponent))
    return f"{amount:.{places}f}"


def _money(amount: Decimal) -> str:
    return f"{abs(amount):,.2f}"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(text: str, limit: int = VALUE_LIMIT) -> str:
    """Return *text* as one line of at most *limit* characters, without what controls a terminal or a text's direction."""
    clean = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)
    line = " ".join(clean.split())
    return line if len(line) <= limit else line[: limit - 1] + ELLIPSIS
