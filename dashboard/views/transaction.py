"""One transaction: where it stands, its way, documents and money, deadlines, spans, why each step belongs, history."""

from collections.abc import Callable, Mapping
from datetime import datetime

import streamlit as st

from controltower.dashboard import charts, data, documents, journey, page, reasons, state
from controltower.dashboard.format import count, plural
from controltower.dashboard.markup import heading, title
from controltower.dashboard.parts import transaction as parts
from controltower.dashboard.parts import transactions as lists
from controltower.dashboard.settings import Settings, read_settings
from controltower.store.flows.definition import Flow
from controltower.store.read import AnchorRef, TransactionView
from controltower.store.rows import Key

TABS: Mapping[str, str] = {
    "path": "Path",
    "documents": "Documents and match",
    "deadlines": "Deadlines",
    "exceptions": "Exceptions",
    "spans": "Spans",
    "logs": "Logs",
    "why": "Why each step belongs",
    "history": "What was known when",
}


def render() -> None:
    """Show the page."""
    page.shown(_build)


def _build() -> None:
    settings = read_settings()
    reference = _asked(settings)
    if reference is None:
        return
    view = page.loading(lambda: data.transaction(settings, reference.flow, reference.anchor), height=480)
    if view is None:
        page.html(title(reference.anchor.value))
        page.nothing(
            "There is no such transaction",
            "The address names one that is not stored (any more). Search for its number instead.",
        )
        st.link_button("Search transactions", "./transactions")
        return
    _show(settings, view, data.now())


def _asked(settings: Settings) -> AnchorRef | None:
    """Return the transaction that the address names; with ``key`` alone, the one it leads to, or a choice of them."""
    given = state.parameters()
    if given.get("value"):
        anchor = Key(given.get("type", "purchase_order"), given.get("scope", ""), given["value"])
        return AnchorRef(given.get("flow", "procure_to_pay"), anchor)
    key = given.get("key", "")
    found = data.find(settings, key) if key else None
    if found is not None and len(found.anchors) == 1:
        return found.anchors[0]
    page.html(title(key or "Transaction"))
    if found is not None and found.anchors:
        page.html(heading(f"{key} leads to {len(found.anchors)} transactions"))
        page.html(lists.candidates(found.anchors, data.flows()))
    elif found is not None and found.spans:
        page.html(heading("No transaction, but spans that carry this key"))
        page.html(lists.key_spans(found.spans))
    else:
        page.nothing(
            f"Nothing is known of {key}" if key else "No transaction is chosen",
            "Open one from the list of transactions, or search there by any of its numbers.",
        )
        st.link_button("Search transactions", "./transactions")
    return None


def _show(settings: Settings, view: TransactionView, now: datetime) -> None:
    flow = data.flows().get(view.transaction.flow)
    page.html(parts.header(view.transaction, flow))
    page.html(parts.standing(view.transaction, journey.standing(flow, view, now)))
    page.html(parts.summary(view.transaction, now))
    page.html(parts.stages(journey.stage_rows(flow, view), now))
    if view.truncated:
        page.nothing("More is stored than is shown", "This transaction is larger than a page can show.")
    tab = state.segments("Part of the page", "tab", TABS, default="path")
    shows: Mapping[str, Callable[[], None]] = {
        "path": lambda: _path(view, flow, now),
        "documents": lambda: _documents(view, flow),
        "deadlines": lambda: page.html(parts.deadlines(view.deadlines, flow, now, view.heard)),
        "exceptions": lambda: page.html(parts.exceptions(view.exceptions, now)),
        "spans": lambda: _spans(settings, view),
        "logs": lambda: _logs(settings, view),
        "why": lambda: page.html(parts.reasons(reasons.explain(view.members, view.transaction.anchor), flow)),
        "history": lambda: page.html(parts.history(view.history, flow, view.transaction.currency)),
    }
    shows[tab]()


def _path(view: TransactionView, flow: Flow | None, now: datetime) -> None:
    if still_open := parts.open_exceptions(view):
        page.html(heading("Open exceptions"))
        page.html(parts.exceptions(still_open, now))
    page.html(heading("Stages against their deadlines", "pale: time allowed; amber and red: late; a point is a step"))
    page.chart(charts.timeline(journey.stage_rows(flow, view), now), key="timeline")
    page.html(heading("Hops between systems", "in order of time"))
    page.html(parts.hops(journey.hops(view.members), flow))
    if keys := parts.keys(view.transaction):
        page.html(heading("Its keys", "each leads to everything that carries it"))
        page.html(keys)


def _documents(view: TransactionView, flow: Flow | None) -> None:
    page.html(heading("Three-way match", "by line: as ordered, received and invoiced; differences stand out"))
    page.html(parts.matches(documents.match_rows(view.reconciliations)))
    page.html(heading("Documents and their lines", "in order of time"))
    page.html(parts.documents(documents.documents(view), flow, view.transaction))


def _spans(settings: Settings, view: TransactionView) -> None:
    found = page.loading(lambda: data.spans(settings, view))
    own = {(member.step.trace_id, member.step.span_id) for member in view.members}
    kept, others = documents.around(found, own)
    note = f", {plural(others, 'step')} of other transactions in the same traces left out" if others else ""
    page.html(heading("Spans", f"what its traces hold, its own steps in bold{note}"))
    page.html(parts.spans(kept, own, documents.before_their_parents(found)))


def _logs(settings: Settings, view: TransactionView) -> None:
    found = page.loading(lambda: data.logs(settings, view))
    if not found.records:
        page.nothing(
            "Nothing was logged around this transaction",
            "Send logs to the collector's /v1/logs: a record is found by the trace it was written in, "
            "or by an attribute such as controltower.key.purchase_order.",
        )
        return
    more = f"the first {count(len(found.records))}, more is stored" if found.truncated else "in order of time"
    page.html(heading("Logs", f"of its traces and with its keys, {more}"))
    page.html(parts.logs(found.records))
