"""How the load prints the value of an attribute: the expression, unrolled over the levels of containers.

Values are printed as the Collector's ClickHouse exporter prints them (``pcommon.Value.AsString``), so that a span is the
same whichever way it came in. What differs, on purpose: inside of containers a NaN or an infinity is a text (the
exporter loses the whole attribute), of equal keys all stay (the exporter keeps the last), and a container below the
last level is its bytes in base64, ``{"otlp.array_value":"CgIYAQ=="}``, so that nothing comes out empty.
"""

from typing import Final

from controltower.store.otlp import DEPTH


def text(depth: int = DEPTH) -> str:
    """Return the expression that prints a value, whose members are the names of a lambda, as an attribute's text."""
    containers = _container("o", "av", "kk", "kv", depth) if depth else _undecoded("o", "av", "kv")
    return (
        "multiIf("
        "o = 's', s, "
        "o = 'i', toString(i), "
        f"o = 'd', if(isFinite(d), {_go('toString(d)')}, {_NOT_FINITE}), "
        "o = 'b', toString(b), "
        "o = 'y', base64Encode(y), "
        "o = 'n', '', "
        f"{containers})"
    )


# The exporter's own words for what is no number in JSON.
_NOT_FINITE: Final = "concat('json: unsupported value: ', transform(toString(d), ['nan', '-nan', 'inf', '-inf'], ['NaN', 'NaN', '+Inf', '-Inf']))"


def _json(value: str, level: int) -> str:
    """Return the expression that prints *value*, an element of a container, as JSON."""
    if level:
        containers = _container(f"{value}.o", f"{value}.`a.v`", f"{value}.`k.v.key`", f"{value}.`k.v.value`", level)
    else:
        containers = _undecoded(f"{value}.o", f"{value}.a", f"{value}.k")
    return (
        "multiIf("
        f"{value}.o = 's', toJSONString(toValidUTF8({value}.s)), "
        f"{value}.o = 'i', toString({value}.i), "
        f"{value}.o = 'd', {_go(f'toJSONString({value}.d)')}, "
        f"{value}.o = 'b', toString({value}.b), "
        f"{value}.o = 'y', toJSONString(base64Encode({value}.y)), "
        f"{value}.o = 'n', 'null', "
        f"{containers})"
    )


def _go(number: str) -> str:
    """Write the exponent as Go does: 1e+21 for 1e21; all else is the same shortest form."""
    return f"replaceOne(replaceOne({number}, 'e', 'e+'), 'e+-', 'e-')"


def _container(kind: str, array: str, keys: str, values: str, level: int) -> str:
    """Print an array, or a key-value list sorted by key: of the two, one is empty."""
    key, value, at = f"k{level}", f"v{level}", f"i{level}"
    prefixes = f"arrayMap({key} -> concat(toJSONString(toValidUTF8({key})), ':'), arraySort({keys}))"
    by_key = f"arraySort(({value}, {key}, {at}) -> ({key}, {at}), {values}, {keys}, arrayEnumerate({keys}))"
    elements = (
        f"arrayMap(({key}, {value}) -> concat({key}, {_json(value, level - 1)}), "
        f"arrayResize({prefixes}, length({array}) + length({values})), arrayConcat({array}, {by_key}))"
    )
    return f"concat(if({kind} = 'a', '[', '{{'), arrayStringConcat({elements}, ','), if({kind} = 'a', ']', '}}'))"


def _undecoded(kind: str, array: str, values: str) -> str:
    """Print a container below the last level: its name in OTLP and its bytes."""
    name = f"if({kind} = 'a', 'array', 'kvlist')"
    return f"concat('{{\"otlp.', {name}, '_value\":\"', base64Encode(concat({array}, {values})), '\"}}')"
