"""Which parts of a request are cut: those that the walk over the wire found to be large."""

from collections.abc import Iterator
from typing import Any

from controltower.collector.cut import Cutter, RecordLimits
from controltower.collector.otlp import Signal
from controltower.collector.wire import Counts


def is_beyond(signal: Signal, request: Any, counts: Counts, limits: RecordLimits) -> bool:
    """Whether something in *request*, of which *counts* was found, may be beyond *limits*; texts may be either kind."""
    cutter = Cutter(limits)
    if any(cutter.is_beyond(item, size) for item, size in _large_items(signal, request, counts, limits)):
        return True
    if counts.large_around:
        return True
    around = counts.fields - counts.items > limits.attributes
    return around and any(len(attributes) > limits.attributes for attributes in _attributes_around(request))


def trim(signal: Signal, request: Any, counts: Counts, limits: RecordLimits) -> int:
    """Cut what is beyond *limits* in *request*, whose texts are bytes; returns in how many places."""
    cutter = Cutter(limits)
    large = [item for item, size in _large_items(signal, request, counts, limits) if cutter.is_beyond(item, size)]
    return sum(map(cutter.cut, large)) + _trim_around(request, cutter)


def _large_items(signal: Signal, request: Any, counts: Counts, limits: RecordLimits) -> Iterator[tuple[Any, int]]:
    """Yield the large items with their sizes: by their numbers, unless items were taken out since they were counted."""
    if not counts.large:
        return
    lists = list(signal.lists(request))
    if sum(map(len, lists)) != counts.items:
        sized = ((item, item.ByteSize()) for items in lists for item in items)
        yield from ((item, size) for item, size in sized if size >= limits.least_bytes)
        return
    wanted = iter(counts.large)
    number, size = next(wanted)
    first = 0
    for items in lists:
        while number < first + len(items):
            yield items[number - first], size
            number, size = next(wanted, (counts.items, 0))
        first += len(items)


def _trim_around(request: Any, cutter: Cutter) -> int:
    """Cut resources, scopes and what metrics say about themselves."""
    trimmed = 0
    for _, groups in request.ListFields():
        for group in groups:
            trimmed += cutter.cut(group.resource)
            for field, scopes in group.ListFields():
                if field.is_repeated:
                    trimmed += sum(map(cutter.cut, (scope.scope for scope in scopes)))
                    trimmed += sum(cutter.cut_metric(metric) for scope in scopes for metric in _metrics(scope))
    return trimmed


def _attributes_around(request: Any) -> Iterator[Any]:
    for _, groups in request.ListFields():
        for group in groups:
            yield group.resource.attributes
            for scope in (scope for field, scopes in group.ListFields() if field.is_repeated for scope in scopes):
                yield scope.scope.attributes
                yield from (metric.metadata for metric in _metrics(scope))


def _metrics(scope: Any) -> Any:
    return scope.metrics if "metrics" in scope.DESCRIPTOR.fields_by_name else ()
