"""How the load prints the value of an attribute: the expression, unrolled over the levels of containers.

Values are printed as the Collector's ClickHouse exporter prints them (``pcommon.Value.AsString``), so that a span is the
same whichever way it came in. What differs, on purpose: inside of containers a NaN or an infinity is a text (the
exporter loses the whole attribute), of equal keys all stay (the exporter keeps the last), and a container below the
last level is its bytes in base64, ``{"otlp.array_value":"CgIYAQ=="}``, so that nothing comes out empty.
"""

from typing import Final

from controltower.store.otlp import DEPTH, members

DEEPER: Final = "a value lies deeper than this inbox reads"
"""What the engine says when a message needs an inbox of ``DEPTH`` levels."""


def text(value: str, depth: int = DEPTH, *, whole: bool = False) -> str:
    """Return the expression that prints the tuple *value* as an attribute's text.

    Containers below the last level are printed as bytes, or refused (``DEEPER``) when the value must be *whole*.
    """
    o, s, b, i, d, y, *containers = _members(value, depth)
    return (
        "multiIf("
        f"{o} = 's', {s}, "
        f"{o} = 'i', toString({i}), "
        f"{o} = 'd', if(isFinite({d}), {go_exponent(f'toString({d})')}, {_not_finite(d)}), "
        f"{o} = 'b', toString({b}), "
        f"{o} = 'y', base64Encode({y}), "
        f"{o} = 'n', '', "
        f"{_container(o, containers, depth, whole)})"
    )


def _members(value: str, depth: int) -> list[str]:
    return [f"{value}.{name if name.isidentifier() else f'`{name}`'}" for name, _ in members(depth)]


def _not_finite(number: str) -> str:
    said = f"transform(toString({number}), ['nan', '-nan', 'inf', '-inf'], ['NaN', 'NaN', '+Inf', '-Inf'])"
    return f"concat('json: unsupported value: ', {said})"


def _json(value: str, level: int, whole: bool) -> str:
    """Return the expression that prints *value*, an element of a container, as JSON."""
    o, s, b, i, d, y, *containers = _members(value, level)
    return (
        "multiIf("
        f"{o} = 's', toJSONString(toValidUTF8({s})), "
        f"{o} = 'i', toString({i}), "
        f"{o} = 'd', {go_exponent(f'toJSONString({d})')}, "
        f"{o} = 'b', toString({b}), "
        f"{o} = 'y', toJSONString(base64Encode({y})), "
        f"{o} = 'n', 'null', "
        f"{_container(o, containers, level, whole)})"
    )


def go_exponent(number: str) -> str:
    """Return the expression that writes the exponent as Go does: 1e+21 for 1e21; all else is the same shortest form."""
    return f"replaceOne(replaceOne({number}, 'e', 'e+'), 'e+-', 'e-')"


def _container(kind: str, members: list[str], level: int, whole: bool) -> str:
    """Print an array, or a key-value list sorted by key: of the two, one is empty."""
    if not level:
        return _refused(kind) if whole else _undecoded(kind, *members)
    array, keys, values = members
    key, value, at = f"k{level}", f"v{level}", f"i{level}"
    prefixes = f"arrayMap({key} -> concat(toJSONString(toValidUTF8({key})), ':'), arraySort({keys}))"
    by_key = f"arraySort(({value}, {key}, {at}) -> ({key}, {at}), {values}, {keys}, arrayEnumerate({keys}))"
    elements = (
        f"arrayMap(({key}, {value}) -> concat({key}, {_json(value, level - 1, whole)}), "
        f"arrayResize({prefixes}, length({array}) + length({values})), arrayConcat({array}, {by_key}))"
    )
    return f"concat(if({kind} = 'a', '[', '{{'), arrayStringConcat({elements}, ','), if({kind} = 'a', ']', '}}'))"


def _undecoded(kind: str, array: str, values: str) -> str:
    """Print a container below the last level: its name in OTLP and its bytes."""
    name = f"if({kind} = 'a', 'array', 'kvlist')"
    return f"concat('{{\"otlp.', {name}, '_value\":\"', base64Encode(concat({array}, {values})), '\"}}')"


def _refused(kind: str) -> str:
    """Refuse the insert: another inbox reads deeper. Right whether or not the engine evaluates it for other kinds, too."""
    return f"toString(throwIf({kind} IN ('a', 'k'), '{DEEPER}'))"
