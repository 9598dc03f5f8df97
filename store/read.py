"""The read API: typed, bounded reads of what the engine derived; used by the dashboard and the command.

Every read has a limit and a time limit in the engine. An unknown key answers with nothing, not with an error.
"""

from controltower.store.collector_rows import CollectorState, RefusalCount
from controltower.store.reads.answers import (
    AnchorRef,
    DayCount,
    Facets,
    Freshness,
    KeySpan,
    LogRecord,
    Logs,
    Member,
    Money,
    Overview,
    Parked,
    ReasonCount,
    RuleCount,
    SearchFilters,
    SearchPage,
    Sort,
    Span,
    StageCount,
    StateCount,
    TransactionView,
)
from controltower.store.reads.beside import Aside, at_once, beside
from controltower.store.reads.collectors import collectors, refusals
from controltower.store.reads.corrections import Decided, corrections, corrections_of
from controltower.store.reads.find import find_anchors, spans_with_key
from controltower.store.reads.logs import logs_of
from controltower.store.reads.overview import OVERFLOW, SYSTEMS_LIMIT, facets, freshness, overview
from controltower.store.reads.parked import count_parked, parked
from controltower.store.reads.paths import Paths, paths
from controltower.store.reads.search import search
from controltower.store.reads.sources import queues, sources
from controltower.store.reads.then import KnownThen, Restated, find_anchors_then, folded, known_then, restated
from controltower.store.reads.transaction import (
    SPANS_LIMIT,
    TRACES_LIMIT,
    read_beside,
    read_transaction,
    spans_of_traces,
)
from controltower.store.source_rows import QueueLevel, SourceState, Standing

__all__ = [
    "OVERFLOW",
    "SPANS_LIMIT",
    "SYSTEMS_LIMIT",
    "TRACES_LIMIT",
    "AnchorRef",
    "Aside",
    "CollectorState",
    "DayCount",
    "Decided",
    "Facets",
    "Freshness",
    "KeySpan",
    "KnownThen",
    "LogRecord",
    "Logs",
    "Member",
    "Money",
    "Overview",
    "Parked",
    "Paths",
    "QueueLevel",
    "ReasonCount",
    "RefusalCount",
    "Restated",
    "RuleCount",
    "SearchFilters",
    "SearchPage",
    "Sort",
    "SourceState",
    "Span",
    "StageCount",
    "Standing",
    "StateCount",
    "TransactionView",
    "at_once",
    "beside",
    "collectors",
    "corrections",
    "corrections_of",
    "count_parked",
    "facets",
    "find_anchors",
    "find_anchors_then",
    "folded",
    "freshness",
    "known_then",
    "logs_of",
    "overview",
    "parked",
    "paths",
    "queues",
    "read_beside",
    "read_transaction",
    "refusals",
    "restated",
    "search",
    "sources",
    "spans_of_traces",
    "spans_with_key",
]
