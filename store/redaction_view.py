"""The view that redacts: what a policy makes of the one step between decoded and stored rows.

Every row is judged by the letters of its names (``redaction_names``) and by one search over what is free text in it. In
most, nothing is found (no ``hit``): what is to be dropped is left out of their maps, and that is all. The others are
taken apart: their texts and attributes become one list of entries, each entry is treated by its letter, and the row is
put together again. So the dear expressions stand in the view once, whatever the number of columns, and work on few rows.

The keys of tokens come with the rows, in a column that is stored nowhere, so that they stand in no statement, no
setting and no log.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from controltower.store.conditions import all_of, any_of
from controltower.store.otlp_rows import KEYS_COLUMN, MAP
from controltower.store.redaction import (
    AUDIT,
    LINE_EVENT,
    REDACTED,
    SCOPE,
    Audited,
    Place,
    Redaction,
    literal,
    literals,
    quoted,
)
from controltower.store.redaction_names import (
    END,
    OTHERWISE,
    SEPARATORS,
    START,
    START_OF_LINE,
    Kind,
    Kinds,
    code,
    is_of,
    names_in_one,
    shapes_of,
    unspelled,
)
from controltower.store.redaction_search import Search

LONGEST_TOKENISED: Final = 512
FORM: Final = "^t[0-9]{1,4}:[A-Z2-7]{26}$"
TOKEN_CHARACTERS: Final = 26

_PAIRS: Final = "Array(Tuple(LowCardinality(String), String))"
_MASKS: Final = (Kind.MASK, Kind.MASK_OR_TOKEN)


def redacting(redaction: Redaction, rows: Audited, columns: Sequence[str], source: str) -> str:
    """Return the SELECT that makes rows with *columns* of those of *source*, which have the keys, too."""
    kinds, view = Kinds(redaction), _Rows(rows)
    search = Search(redaction.patterns, redaction.rules)
    steps: list[dict[str, str]] = [
        {"values": view.values(), "given": f"toLowCardinality({view.joined()})"},
        {"letters": _letters_of_names(view, kinds), "unspelled": kinds.unspelled("given")},
        {"codes": _codes()},
        {"hit": view.hit(kinds, search)},
        {"entries": f"if(hit, {view.entries(kinds)}, [])"},
        {"scopes": f"arrayFilter(e -> startsWith(e.3, {literal(SCOPE)}), entries)"},
        {"treated": f"arrayMap(e -> {_entry_treated(kinds, search, view.issuer(), redaction.key_versions)}, entries)"},
        {"audit": f"if(hit, {view.audit()}, {view.dropped()})"},
        dict(view.maps()),
    ]
    inner = source
    have = [quoted(name) for name in (*columns, KEYS_COLUMN)]
    for step in steps:
        made = ",\n        ".join(f"{expression} AS {name}" for name, expression in step.items())
        shown = f"{', '.join(have)},\n        {made}"
        inner = f"(\n    WITH {search.any_pattern} AS any_pattern\n    SELECT {shown}\n    FROM {inner}\n)"  # noqa: S608 - names of ours
        have += step
    shown = ",\n".join(f"    {view.column(name)} AS {quoted(name)}" for name in columns)
    return f"SELECT\n{shown}\nFROM {inner}"


def _letters_of_names(view: "_Rows", kinds: Kinds) -> str:
    """Return the letters of a row's names: by the names as they were sent, unless a separator or bytes that are no text stand in one."""
    starts = " + ".join(f"countSubstrings(given, '{start}')" for start in (START, START_OF_LINE))
    ends = f"countSubstrings(given, '{END}')"
    is_fair = all_of(f"{starts} = length(values)", f"{ends} = length(values)", "isValidUTF8(given)")
    of_fair = kinds.letters(f"toLowCardinality({view.joined(fair=True)})")
    return f"if({is_fair}, toString({kinds.letters('given')}), toString({of_fair}))"


def _codes() -> str:
    """Return the letters as numbers. Should one ever be missing, nothing of the block is stored."""
    wrong = "throwIf(length(letters) != length(values), 'the names of a row were not understood by redaction')"
    return f"reinterpret(concat(letters, if({wrong}, '', '')), 'Array(UInt8)')"


class _Rows:
    """How a row is taken apart and put together. An entry: 1 place, 2 element, 3 name, 4 value, 5 letter."""

    def __init__(self, rows: Audited) -> None:
        self._rows = rows
        # Texts come first, so that their entries have numbers that are known.
        ordered = sorted(rows.places, key=lambda place: place.kind != "text")
        self._places = {place.column: (number, place) for number, place in enumerate(ordered, start=1)}

    def _of_kind(self, *kinds: str) -> list[tuple[int, Place]]:
        return [(number, place) for number, place in self._places.values() if place.kind in kinds]

    def names(self) -> str:
        """Return the names of all attributes of a row, in the order of their places."""
        return self._of_all("mapKeys")

    def values(self) -> str:
        """Return the values of all attributes, in the same order."""
        return self._of_all("mapValues")

    def _of_all(self, half: str) -> str:
        each = [
            f"{half}({column})" if place.kind == "map" else f"arrayFlatten(arrayMap(m -> {half}(m), {column}))"
            for _, place in self._of_kind("map", "maps")
            if (column := quoted(place.column))
        ]
        return f"arrayConcat({', '.join(each)})"

    def joined(self, *, fair: bool = False) -> str:
        """Return the names of all attributes in one text; when *fair*, without separators in them."""
        safe = f"arrayMap(k -> toValidUTF8(translate(k, '{SEPARATORS}', '{OTHERWISE}')), mapKeys({{}}))"
        keys = safe if fair else "mapKeys({})"
        each = []
        for _, place in self._of_kind("map", "maps"):
            column = quoted(place.column)
            if place.kind == "map":
                each.append(names_in_one(keys.format(column)))
                continue
            of_any, of_line = names_in_one(keys.format("m")), names_in_one(keys.format("m"), START_OF_LINE)
            if place.events:
                made = f"(m, event) -> if(event = {literal(LINE_EVENT)}, {of_line}, {of_any}), {column}, {quoted(place.events)}"
            else:
                made = f"m -> {of_any}, {column}"
            each.append(f"arrayStringConcat(arrayMap({made}))")
        return f"concat({', '.join(each)}, '')"

    def hit(self, kinds: Kinds, search: Search) -> str:
        """Return whether a row has to be taken apart: anything but attributes to drop from the maps of the row itself."""
        used = kinds.used()
        lines: list[str] = []
        ways: list[str] = []
        for _, place in self._of_kind("text", "texts"):
            column, number = quoted(place.column), kinds.of_text(place.field)
            if number in _MASKS:
                lines.append(f"toString({column})" if place.kind == "text" else f"arrayStringConcat({column}, '\\n')")
            elif number != Kind.KEEP:
                each = f"[toString({column})]" if place.kind == "text" else f"arrayMap(t -> toString(t), {column})"
                ways.append(f"arrayExists(text -> {_changes('text', number, kinds, search)}, {each})")
        masks = [number for number in _MASKS if number in used]
        if masks:
            lines.append(f"arrayStringConcat(arrayFilter((v, c) -> {is_of('c', *masks)}, values, codes), '\\n')")
        ways.append(search.in_lines("toString(unspelled)", "concat({})".format(", '\\n', ".join([*lines, "''"]))))
        if Kind.TOKEN in used:
            raw = f"arrayFilter((v, c) -> {is_of('c', Kind.TOKEN)}, values, codes)"
            ways.append(f"arrayExists(v -> {_is_no_token('v')}, {raw})")
        ways += [
            f"arrayExists(v -> {_misfits('v', shape, search)}, arrayFilter((v, c) -> {is_of('c', number)}, values, codes))"
            for number, shape in shapes_of(kinds)
        ]
        if Kind.DROP in used and self._of_kind("maps"):
            own = " + ".join(f"length({quoted(place.column)})" for _, place in self._of_kind("map"))
            ways.append(f"arrayExists(c -> {is_of('c', Kind.DROP)}, arraySlice(codes, 1 + {own}))")
        return any_of(*ways)

    def entries(self, kinds: Kinds) -> str:
        """Return everything in a row that can hold patients' data, as one array."""
        texts, places, elements = [], [], []
        for number, place in self._places.values():
            column, letter = quoted(place.column), code(kinds.of_text(place.field)) if "text" in place.kind else 0
            if place.kind == "text":
                texts.append(f"[{_entry(number, '0', f'toString({column})', letter)}]")
            elif place.kind == "texts":
                entry = _entry(number, "i", "toString(text)", letter)
                texts.append(f"arrayMap((text, i) -> {entry}, {column}, arrayEnumerate({column}))")
            elif place.kind == "map":
                places.append(f"arrayWithConstant(length({column}), toUInt8({number}))")
                elements.append(f"arrayWithConstant(length({column}), toUInt32(0))")
            else:
                each = "arrayWithConstant(length(m), {})"
                places.append(f"arrayFlatten(arrayMap(m -> {each.format(f'toUInt8({number})')}, {column}))")
                elements.append(
                    f"arrayFlatten(arrayMap((m, i) -> {each.format('toUInt32(i)')}, {column}, arrayEnumerate({column})))"
                )
        parts = (f"arrayConcat({', '.join(places)})", f"arrayConcat({', '.join(elements)})", self.names())
        zipped = f"arrayZip({', '.join(parts)}, values, codes)"
        return f"arrayConcat({', '.join([*texts, zipped])})"

    def issuer(self) -> str:
        """Return who issued the key in an entry: by the attributes that it stands with, else by the row's own."""
        name = f"concat({literal(SCOPE)}, type)"
        own = all_of("s.1 = e.1", "s.2 = e.2", f"s.3 = {name}")
        common = all_of(f"s.1 = {self._places[self._rows.issuers][0]}", f"s.3 = {name}")
        found = (f"arrayFirst(s -> {each}, scopes).4" for each in (own, common))
        return "coalesce(nullIf({}, ''), {})".format(*found)

    def audit(self) -> str:
        """Return what was done in a row: field:rule=times, sorted."""
        fields = literals(place.field for _, place in sorted(self._places.values(), key=lambda pair: pair[0]))
        every = f"arrayFlatten(arrayMap((e, t) -> arrayMap(rule -> concat([{fields}][e.1], ':', rule), t.3), entries, treated))"
        counted = (
            "arrayMap(what -> concat(what, '=', toString(countEqual(every, what))), arraySort(arrayDistinct(every)))"
        )
        return f"arrayStringConcat(arrayFlatten(arrayMap(every -> {counted}, [{every}])), ' ')"

    def dropped(self) -> str:
        """Return the same of a row from whose own maps attributes are dropped, and nothing else."""
        each = [
            f"arrayMap(n -> if(n = 0, '', concat({literal(f' {place.field}:drop=')}, toString(n))), "
            f"[arrayCount(c -> {is_of('c', Kind.DROP)}, {letters})])[1]"
            for place, letters in sorted(self._letters(), key=lambda pair: pair[0].field)
        ]
        return f"substring(concat({', '.join(each)}, ''), 2)"

    def _letters(self) -> Iterator[tuple[Place, str]]:
        """Yield the maps of the row itself, and where their letters are."""
        before = "1"
        for _, place in self._of_kind("map"):
            length = f"length({quoted(place.column)})"
            yield place, f"arraySlice(codes, {before}, {length})"
            before += f" + {length}"

    def maps(self) -> Iterable[tuple[str, str]]:
        """Return the maps of a row under names of their own: those of the row itself, and those that are arrays."""
        letters = {place.column: found for place, found in self._letters()}
        for number, place in self._of_kind("map", "maps"):
            column = quoted(place.column)
            of_place = (f"e.1 = {number}", "NOT t.4")
            if place.kind == "map":
                left = f"arrayFilter((pair, c) -> NOT {is_of('c', Kind.DROP)}, CAST({column}, '{_PAIRS}'), {letters[place.column]})"
                kept = f"arrayMap(t -> (t.2, t.1), arrayFilter((t, e) -> {all_of(*of_place)}, treated, entries))"
                pairs = f"if(hit, {kept}, {left})"
                if place.column == self._rows.audit:
                    pairs = f"arrayConcat({pairs}, if(audit = '', [], [({literal(AUDIT)}, audit)]))"
                    yield f"made_{number}", f"CAST({pairs}, '{MAP}')"
                else:  # most resources have nothing to drop
                    dropped = f"arrayExists(c -> {is_of('c', Kind.DROP)}, {letters[place.column]})"
                    yield f"made_{number}", f"if({any_of('hit', dropped)}, CAST({pairs}, '{MAP}'), {column})"
            else:
                kept = f"arrayFilter((t, e) -> {all_of(*of_place, 'e.2 = i')}, treated, entries)"
                each = f"arrayMap(i -> CAST(arrayMap(t -> (t.2, t.1), {kept}), '{MAP}'), arrayEnumerate({column}))"
                yield f"made_{number}", f"if(hit, {each}, {column})"

    def column(self, name: str) -> str:
        """Return a column of the row, put together again where anything was changed in it."""
        column = quoted(name)
        if name == "ServiceName" and "ResourceAttributes" in self._places:
            return f"toString(made_{self._places['ResourceAttributes'][0]}['service.name'])"
        if name not in self._places:
            return column
        number, place = self._places[name]
        if place.kind == "text":
            return f"if(hit, treated[{number}].1, toString({column}))"
        if place.kind == "texts":
            own = f"arrayFilter((t, e) -> e.1 = {number}, treated, entries)"
            return f"if(hit, arrayMap(t -> t.1, {own}), arrayMap(text -> toString(text), {column}))"
        return f"made_{number}"


def _entry(place: int, element: str, value: str, letter: int) -> str:
    return f"(toUInt8({place}), toUInt32({element}), '', {value}, toUInt8({letter}))"


def _changes(text: str, number: int, kinds: Kinds, search: Search) -> str:
    """Return whether a text that is neither kept nor masked is to be changed."""
    shape = dict(shapes_of(kinds)).get(number)
    return f"{text} != ''" if shape is None else _misfits(text, shape, search)


def _misfits(text: str, shape: str, search: Search) -> str:
    return all_of(f"{text} != ''", f"NOT {search.fits(text, shape)}")


def _is_no_token(text: str) -> str:
    return all_of(f"{text} != ''", f"NOT match({text}, {literal(FORM)})")


def _wants_token(kinds: Kinds, search: Search) -> str:
    """Return whether the value of an entry has to become a token."""
    shaped = [
        all_of(is_of("e.5", number), f"NOT {search.fits('e.4', shape)}")
        for number, shape in shapes_of(kinds, or_token=True)
    ]
    return any_of(is_of("e.5", Kind.TOKEN), all_of(is_of("e.5", Kind.MASK_OR_TOKEN), "m != e.4"), *shaped)


def _tokens(value: str, type_: str, issuer: str, versions: Sequence[int]) -> str:
    """Return (value, rule) for a value that has to become a token; the rule is empty when it is one already."""
    is_list = all_of(f"startsWith({value}, '[')", f"isValidJSON({value})")
    raw = f"if({is_list}, JSONExtractArrayRaw({value}), [toJSONString(toValidUTF8({value}))])"
    parts = f"arrayFilter(part -> part NOT IN ('\"\"', 'null', 'true', 'false'), {raw})"
    texts = f"arrayMap(part -> if(startsWith(part, '\"'), JSONExtractString(part), part), {parts})"
    normal = "replaceRegexpAll(upperUTF8(normalizeUTF8NFKC(text)), '[ \\\\t\\\\n\\\\v\\\\f\\\\r]+', '')"
    message = f"concat({type_}, '\\x1f', {issuer}, '\\x1f', {normal})"
    mac = f"substring(base32Encode(HMAC('SHA256', {message}, key)), 1, {TOKEN_CHARACTERS})"
    present = f"arraySlice({KEYS_COLUMN}, -{len(versions)})"
    numbers = ", ".join(map(str, versions))
    made = (
        f"arrayMap((key, version) -> concat('t', toString(version), ':', {mac}), {present}, [{numbers}])"
        if versions
        else "[]"
    )
    every = f"arrayFlatten(arrayMap(text -> if(match(text, {literal(FORM)}), [text], {made}), texts))"
    put = "if(length(every) = 1, every[1], toJSONString(every))"
    long = any_of(
        f"arrayExists(text -> length(text) > {LONGEST_TOKENISED}, texts)",
        f"arrayExists(part -> match(part, '^[{{\\\\[]'), {parts})",
    )
    known = f"arrayAll(text -> match(text, {literal(FORM)}), texts)"
    enough = f"length({KEYS_COLUMN}) >= {len(versions)}" if versions else "false"
    return (
        f"arrayMap(texts -> multiIf({long}, ('', 'drop'), {known}, ({value}, ''), NOT ({enough}), ('', 'no_key'), "
        f"(arrayMap(every -> {put}, [{every}])[1], 'token')), [{texts}])[1]"
    )


def _entry_treated(kinds: Kinds, search: Search, issuer: str, versions: Sequence[int]) -> str:
    """Return (value, name, rules, gone) for an entry, step by step: each names what the ones inside it use."""
    masked = f"if({all_of(is_of('e.5', *_MASKS), search.finds('e.4'))}, {search.masked('e.4')}, e.4)"
    renamed = f"if({all_of(unspelled('e.5'), search.plainly('e.3'))}, {literal(REDACTED)}, e.3)"
    tokens = _let(_let(_tokens("e.4", "type", "issuer", versions), issuer=issuer), type=kinds.type("lower(e.3)"))
    treated = _let(_treated(kinds, search), t=f"if(w, {tokens}, (e.4, ''))")
    return _let(_let(treated, w=_wants_token(kinds, search)), m=masked, name=renamed)


def _let(expression: str, **names: str) -> str:
    """Return *expression*, in which *names* stand for what they are."""
    return f"arrayMap(({', '.join(names)}) -> {expression}, {', '.join(f'[{of}]' for of in names.values())})[1]"


def _treated(kinds: Kinds, search: Search) -> str:
    """Return (value, name, rules, gone) for an entry."""
    ways = [
        f"{is_of('e.5', Kind.DROP)}, ('', name, ['drop'], true)",
        f"{is_of('e.5', Kind.CLEAR)}, ('', name, if(e.4 = '', [], ['drop']), false)",
        "w, (t.1, name, if(t.2 = '', [], [t.2]), t.2 IN ('drop', 'no_key'))",
        f"{is_of('e.5', Kind.MASK)}, (m, name, {search.rules('e.4', 'm')}, false)",
    ]
    ways += [
        f"{all_of(is_of('e.5', number), _misfits('e.4', shape, search))}, ({literal(REDACTED)}, name, ['shape'], false)"
        for number, shape in shapes_of(kinds, or_token=False)
    ]
    made = f"multiIf({', '.join([*ways, '(e.4, name, [], false)'])})"
    return f"arrayMap(made -> (made.1, made.2, if(name != e.3, arrayPushBack(made.3, 'name'), made.3), made.4), [{made}])[1]"
