"""Texts that are no UTF-8: one invalid byte must neither lose a request nor reach whoever reads it."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pool, message_factory  # type: ignore[import-untyped]  # published without types
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # the same

from controltower.collector.otlp import Signal


def mend(signal: Signal, request: Any) -> int:
    """Put U+FFFD for what is no UTF-8 in *request*, whose texts are bytes; returns how many texts were changed."""
    bad = [item for items in signal.lists(request) for item in items if not _is_valid(item)]
    return sum(map(_mend, bad)) + sum(_mend(part, deep=deep) for part, deep in _around(request))


def _around(request: Any) -> Iterator[tuple[Any, bool]]:
    """Yield what stands around the items, and whether it is all of it: groups and metrics hold the items, too."""
    for _, groups in request.ListFields():
        for group in groups:
            yield group, False
            yield group.resource, True
            for scope in (scope for field, scopes in group.ListFields() if field.is_repeated for scope in scopes):
                yield scope, False
                yield scope.scope, True
                if "metrics" in scope.DESCRIPTOR.fields_by_name:
                    yield from ((metric, False) for metric in scope.metrics)


def _mend(message: Any, *, deep: bool = True) -> int:
    changed = 0
    texts = _texts_of(message.DESCRIPTOR.full_name)
    for field, value in message.ListFields():
        if field.name in texts:
            changed += _replace(message, field, value)
        elif field.message_type is not None and (deep or field.name == "metadata"):
            changed += sum(map(_mend, value if field.is_repeated else (value,)))
    return changed


def _replace(message: Any, field: Any, value: Any) -> int:
    if field.is_repeated:
        valid = [_valid(text) for text in value]
        changed = sum(1 for one, other in zip(valid, value, strict=True) if one != other)
        if changed:
            value[:] = valid
        return changed
    valid_text = _valid(value)
    if valid_text == value:
        return 0
    setattr(message, field.name, valid_text)
    return 1


def _valid(text: bytes) -> bytes:
    return text.decode("utf-8", "replace").encode()


def _is_valid(item: Any) -> bool:
    """Whether every text of *item* is UTF-8; protobuf's own classes find out fastest."""
    try:
        _generated(item.DESCRIPTOR.full_name).FromString(item.SerializeToString())
    except DecodeError:
        return False
    return True


@cache
def _generated(name: str) -> Any:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


@cache
def _texts_of(name: str) -> frozenset[str]:
    descriptor = _generated(name).DESCRIPTOR
    return frozenset(field.name for field in descriptor.fields if field.type == field.TYPE_STRING)
