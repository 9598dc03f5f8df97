"""What the pages show, read from the store and kept for a few seconds; views call nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import streamlit as st

from controltower.dashboard.clients import Clients
from controltower.dashboard.settings import Settings
from controltower.dashboard.wanted import Wanted
from controltower.store import kpis as figures
from controltower.store import read
from controltower.store.alert_rows import Alert
from controltower.store.client import Client
from controltower.store.flows.definition import Flow
from controltower.store.flows.files import load_packs
from controltower.store.kpis import KpiValue
from controltower.store.outbox import open_causes
from controltower.store.read import (
    AnchorRef,
    CollectorState,
    Facets,
    Freshness,
    KeySpan,
    Logs,
    Overview,
    Parked,
    Paths,
    QueueLevel,
    RefusalCount,
    SearchPage,
    SourceState,
    Span,
    TransactionView,
)
from controltower.store.rows import Key, Transaction

T = TypeVar("T")

TTL_S = 5  # a page is at most this much older than the store; several people at one page cost one read
KPI_TTL_S = 60  # figures over months: a minute changes nothing, and they read the most
ENTRIES = 200  # answers kept per kind of question
CAUSES_SHOWN = 20
DOWNLOAD_LIMIT = 10_000  # rows of one CSV file
DOWNLOAD_PAGE = 1_000
TRACES_SHOWN = 200  # traces of one transaction whose spans are read
EVER = timedelta(days=3_650)  # what "any time" means for a history by day


@dataclass(frozen=True, slots=True)
class OverviewData:
    """All that the overview shows, and when it was read."""

    at: datetime
    overview: Overview
    freshness: tuple[Freshness, ...]
    parked: int
    collectors: tuple[CollectorState, ...]
    refusals: tuple[RefusalCount, ...]  # of the last day
    causes: tuple[Alert, ...]  # open ones


@dataclass(frozen=True, slots=True)
class SourcesData:
    """How the sources of scrapers stand, how full their queues are, and when that was read."""

    at: datetime
    sources: tuple[SourceState, ...]
    queues: tuple[QueueLevel, ...]


@dataclass(frozen=True, slots=True)
class ParkedPage:
    """One page of parked steps, and how many there are."""

    rows: tuple[Parked, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a key leads to: transactions, and spans that carry it."""

    anchors: tuple[AnchorRef, ...]
    spans: tuple[KeySpan, ...]


def now() -> datetime:
    """Return the present; the one clock of the pages."""
    return datetime.now(UTC)


@st.cache_resource(show_spinner=False)
def flows() -> dict[str, Flow]:
    """Return the flows that ship with the program, by name."""
    return {flow.flow: flow for flow in load_packs()}


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES, show_spinner=False)
def overview(settings: Settings, flow: str, days: int) -> OverviewData:
    """Return the overview of *flow*, or of all flows, with the history of so many days."""
    at = now()
    since = at - (timedelta(days=days) if days else EVER)

    def question(client: Client) -> OverviewData:
        return OverviewData(
            at,
            read.overview(client, at, since, at + timedelta(days=1), flow or None),
            tuple(read.freshness(client)),
            read.count_parked(client, flow=flow or None),
            read.collectors(client, at),
            read.refusals(client, at - timedelta(days=1), at),
            tuple(open_causes(client, [flow] if flow else [], limit=CAUSES_SHOWN)),
        )

    return _ask(settings, question)


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES, show_spinner=False)
def sources(settings: Settings) -> SourcesData:
    """Return how the sources of scrapers stand."""
    at = now()
    return _ask(settings, lambda client: SourcesData(at, read.sources(client), read.queues(client, at)))


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES, show_spinner=False)
def facets(settings: Settings) -> Facets:
    """Return the values to filter by."""
    return _ask(settings, read.facets)


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES, show_spinner=False)
def search(settings: Settings, wanted: Wanted) -> SearchPage:
    """Return one page of the transactions wanted."""
    return _ask(settings, lambda client: read.search(client, wanted.filters(now())))


def download(settings: Settings, wanted: Wanted) -> tuple[Transaction, ...]:
    """Return the transactions wanted for a file, ``DOWNLOAD_LIMIT`` at most. Not kept: a file is asked for once."""
    at = now()

    def question(client: Client) -> tuple[Transaction, ...]:
        rows: list[Transaction] = []
        for page in range(1, DOWNLOAD_LIMIT // DOWNLOAD_PAGE + 1):
            found = read.search(client, wanted.filters(at, size=DOWNLOAD_PAGE, page=page))
            rows.extend(found.rows)
            if len(rows) >= found.total:
                break
        return tuple(rows)

    return _ask(settings, question)


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES, show_spinner=False)
def transaction(settings: Settings, flow: str, anchor: Key) -> TransactionView | None:
    """Return everything known of one transaction."""
    return _ask(settings, lambda client: read.read_transaction(client, flow, anchor))


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES, show_spinner=False)
def find(settings: Settings, text: str) -> Found:
    """Return what a key leads to."""

    def question(client: Client) -> Found:
        return Found(tuple(read.find_anchors(client, text)), tuple(read.spans_with_key(client, text)))

    return _ask(settings, question)


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES, show_spinner=False)
def spans(settings: Settings, view: TransactionView) -> tuple[Span, ...]:
    """Return the spans of the traces that a transaction runs through, of the first ``TRACES_SHOWN``."""
    seen = [member.step for member in view.members]
    traces = list(dict.fromkeys(step.trace_id for step in seen))[:TRACES_SHOWN]
    if not traces:
        return ()
    first = min(step.observed_at for step in seen)
    last = max(step.observed_at for step in seen)
    return _ask(settings, lambda client: tuple(read.spans_of_traces(client, traces, since=first, until=last)))


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES, show_spinner=False)
def logs(settings: Settings, view: TransactionView) -> Logs:
    """Return what was logged in the traces of a transaction and with its keys."""
    return _ask(settings, lambda client: read.logs_of(client, view))


@st.cache_data(ttl=KPI_TTL_S, max_entries=ENTRIES, show_spinner=False)
def kpis(settings: Settings, flow: str, days: int) -> tuple[KpiValue, ...]:
    """Return every key figure of *flow*, or of all flows, over so many days."""
    at = now()
    since = at - timedelta(days=days) if days else None
    return _ask(settings, lambda client: tuple(figures.compute(client, None, flow or None, since, at, now=at)))


@st.cache_data(ttl=KPI_TTL_S, max_entries=ENTRIES, show_spinner=False)
def paths(settings: Settings, flow: str, days: int) -> Paths:
    """Return the paths of a known *flow* over so many days; 0 is any time."""
    at = now()
    since = at - (timedelta(days=days) if days else EVER)
    return _ask(settings, lambda client: read.paths(client, flows()[flow], since, at + timedelta(days=1)))


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES, show_spinner=False)
def parked(settings: Settings, flow: str, state: str, page: int, size: int) -> ParkedPage:
    """Return one page of the steps that belong to no transaction yet."""

    def question(client: Client) -> ParkedPage:
        rows = read.parked(client, size, offset=(page - 1) * size, flow=flow or None, state=state or None)
        return ParkedPage(tuple(rows), read.count_parked(client, flow=flow or None, state=state or None))

    return _ask(settings, question)


@st.cache_resource(show_spinner=False)
def _clients(settings: Settings) -> Clients:
    return Clients(settings)


def _ask(settings: Settings, question: Callable[[Client], T]) -> T:
    lender: Clients = _clients(settings)
    return lender.read(question)
