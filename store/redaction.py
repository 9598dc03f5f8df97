"""Redaction in the load: what a policy makes of the one view between decoded and stored rows.

Every row is looked through; only one in which something is to be changed (``dirty``) is taken apart: its texts and
attributes become one list of entries, each entry is treated by its name, and the row is put together again. So the
expressions stand in the view once, whatever the number of columns, and a clean row costs the search alone.

The policy belongs to the collector; here are its rules as the engine needs them. The keys of tokens come with the rows,
in a column that is stored nowhere, so that they stand in no statement, no setting and no log.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from controltower.store.otlp_rows import KEYS_COLUMN

Action = Literal["keep", "drop", "mask", "token", "shape"]

AUDIT: Final = "controltower.redacted"
KEY_PREFIXES: Final = ("controltower.key.", "controltower.context.", "controltower.scope.")
SCOPE: Final = "controltower.scope."
LINE_EVENT: Final = "controltower.line"
REDACTED: Final = "[redacted]"
LONGEST_SHAPED: Final = 256
LONGEST_TOKENISED: Final = 512
BASE64_RUN: Final = "[A-Za-z0-9+/_-]{16,}={0,2}"
BASE64_MASK: Final = "[base64]"
LEAST_HIDDEN: Final = 16
FORM: Final = "^t[0-9]{1,4}:[A-Z2-7]{26}$"
TOKEN_CHARACTERS: Final = 26

# What happens to an entry, as a number; those of shapes follow.
_KEEP, _DROP, _TOKEN, _MASK, _MASK_OR_TOKEN, _CLEAR, _SHAPES = range(7)
_UNLISTED: Final = 100  # is added for a name that the policy does not spell out, which is looked at itself


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done to a value; ``shape`` is the expression of its form, ``type`` the key type of its token."""

    action: Action
    shape: str = ""
    type: str = ""
    or_token: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """Treatments of attributes by name, in lower case; an exact name comes before an expression, those in order."""

    exact: Mapping[str, Treatment]
    expressions: Sequence[tuple[str, Treatment]] = ()


@dataclass(frozen=True, slots=True)
class Redaction:
    """A policy as the load applies it."""

    name: str
    version: int
    digest: str
    patterns: Sequence[tuple[str, str]]  # what is found, what stands there instead
    rules: Sequence[str]  # the words in brackets of these
    attributes: Names
    line: Names  # of the events that are lines of a document; what is not here is as in ``attributes``
    unlisted: Treatment
    texts: Mapping[str, Treatment]
    key_versions: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A column that can hold patients' data: a text, an array of texts, the map of a list of attributes, or several."""

    column: str
    field: str  # what the audit calls it, and the policy where it is a text
    kind: Literal["text", "texts", "map", "maps"]
    events: str = ""  # of maps: the column with the names of the events they belong to


@dataclass(frozen=True, slots=True)
class Audited:
    """The rows of a signal: their places, the map that takes the audit, and the one where issuers may stand, too."""

    places: tuple[Place, ...]
    audit: str
    issuers: str


TRACES: Final = Audited(
    (
        Place("SpanName", "span.name", "text"),
        Place("TraceState", "span.trace_state", "text"),
        Place("StatusMessage", "span.status.message", "text"),
        Place("ScopeName", "scope.name", "text"),
        Place("ScopeVersion", "scope.version", "text"),
        Place("ResourceAttributes", "resource.attributes", "map"),
        Place("SpanAttributes", "span.attributes", "map"),
        Place("Events.Name", "event.name", "texts"),
        Place("Events.Attributes", "event.attributes", "maps", "Events.Name"),
        Place("Links.TraceState", "link.trace_state", "texts"),
        Place("Links.Attributes", "link.attributes", "maps"),
    ),
    audit="SpanAttributes",
    issuers="SpanAttributes",
)
LOGS: Final = Audited(
    (
        Place("Body", "log.body", "text"),
        Place("SeverityText", "log.severity_text", "text"),
        Place("EventName", "log.event_name", "text"),
        Place("ResourceSchemaUrl", "schema_url", "text"),
        Place("ScopeSchemaUrl", "schema_url", "text"),
        Place("ScopeName", "scope.name", "text"),
        Place("ScopeVersion", "scope.version", "text"),
        Place("ResourceAttributes", "resource.attributes", "map"),
        Place("ScopeAttributes", "scope.attributes", "map"),
        Place("LogAttributes", "log.attributes", "map"),
    ),
    audit="LogAttributes",
    issuers="LogAttributes",
)
METRICS: Final = Audited(
    (
        Place("MetricName", "metric.name", "text"),
        Place("MetricUnit", "metric.unit", "text"),
        Place("MetricDescription", "metric.description", "text"),
        Place("ResourceSchemaUrl", "schema_url", "text"),
        Place("ScopeSchemaUrl", "schema_url", "text"),
        Place("ScopeName", "scope.name", "text"),
        Place("ScopeVersion", "scope.version", "text"),
        Place("ResourceAttributes", "resource.attributes", "map"),
        Place("ScopeAttributes", "scope.attributes", "map"),
        Place("Attributes", "metric.attributes", "map"),
        Place("Exemplars.FilteredAttributes", "exemplar.attributes", "maps"),
    ),
    audit="Attributes",
    issuers="Attributes",
)


def redacting(redaction: Redaction, rows: Audited, columns: Sequence[str], source: str) -> str:
    """Return the SELECT that makes rows with *columns* of those of *source*, which have the keys, too."""
    names, view = _Kinds(redaction), _Rows(rows)
    found = _Search(redaction)
    tokens = _tokens("e.5", "type", "issuer", redaction.key_versions)
    steps = [
        [f"{view.dirty(names, found)} AS dirty"],
        [f"if(dirty, {view.entries()}, []) AS entries"],
        [
            f"arrayMap(e -> {names.kind('e.3', 'e.4', view.texts(redaction))}, entries) AS kinds",
            f"arrayMap(e -> {names.type('lower(e.4)')}, entries) AS types",
        ],
        [
            f"arrayMap((e, kind) -> if(kind % 100 IN ({_MASK}, {_MASK_OR_TOKEN}), {found.masked('e.5')}, e.5), entries, kinds) AS masked",
            f"arrayMap((e, kind) -> if(kind >= 100 AND {found.plainly('e.4')}, {literal(REDACTED)}, e.4), entries, kinds) AS names",
            f"arrayMap((e, type) -> {view.issuer('e', 'type')}, entries, types) AS issuers",
        ],
        [f"arrayMap((e, kind, m) -> {_wants_token(names, found)}, entries, kinds, masked) AS wanted"],
        [f"arrayMap((e, type, issuer, w) -> if(w, {tokens}, (e.5, '')), entries, types, issuers, wanted) AS tokens"],
        [
            f"arrayMap((e, kind, m, name, w, t) -> {_treated(names, found)}, entries, kinds, masked, names, wanted, tokens) AS treated"
        ],
        # The condition of every column below must not be `dirty`: what stands in a branch alone is evaluated there,
        # once for each column (6 seconds for one row).
        [f"{view.audit()} AS audit", "notEmpty(treated) AS changed"],
        [f"{view.rebuilt()} AS rebuilt"],
    ]
    inner = f"(\n    SELECT * FROM {source}\n)"  # noqa: S608 - names of ours
    for step in steps:
        made = ",\n        ".join(step)
        inner = f"(\n    WITH {found.any_pattern} AS any_pattern\n    SELECT\n        *,\n        {made}\n    FROM {inner}\n)"
    shown = ",\n".join(f"    {view.column(name)} AS {quoted(name)}" for name in columns)
    return f"SELECT\n{shown}\nFROM {inner}"


class _Kinds:
    """Which number an attribute's name has, and of which type its token is."""

    def __init__(self, redaction: Redaction) -> None:
        self.redaction = redaction
        both = (redaction.attributes, redaction.line)
        every = [t for names in both for t in (*names.exact.values(), *(t for _, t in names.expressions))]
        every += [redaction.unlisted, *redaction.texts.values()]
        shaped = ((each.shape, each.or_token) for each in every if each.action == "shape")
        self.shapes: list[tuple[str, bool]] = list(dict.fromkeys(shaped))

    def number(self, treatment: Treatment) -> int:
        """Return the number of what happens."""
        if treatment.action == "shape":
            return _SHAPES + self.shapes.index((treatment.shape, treatment.or_token))
        if treatment.action == "mask":
            return _MASK_OR_TOKEN if treatment.or_token else _MASK
        return {"keep": _KEEP, "drop": _DROP, "token": _TOKEN}[treatment.action]

    def of(self, key: str) -> str:
        """Return the number of the attribute *key*, whose name is in lower case."""
        return self._number(key, self.redaction.attributes, str(self._unspelled(self.number(self.redaction.unlisted))))

    def changing(self) -> str:
        """Return the expression for the names of attributes whose values are changed whatever they are."""
        names = self.redaction.attributes
        wanted = ("drop", "token")
        found = [re.escape(name) for name, treatment in names.exact.items() if treatment.action in wanted]
        # A name has no separator in it, so that an expression for any characters stays within the name.
        found += [e.replace(".*", "[^\\x1e\\x1f]*") for e, treatment in names.expressions if treatment.action in wanted]
        if self.redaction.unlisted.action in wanted:
            return "[^\\x1e\\x1f]*"
        return "|".join(found) or "\\x1e"

    def kind(self, place: str, key: str, texts: Sequence[tuple[int, Treatment]]) -> str:
        """Return the number for an entry: a text has that of its place, an attribute that of its name."""
        of_texts = [f"{place} = {number}, {self._of_text(treatment)}" for number, treatment in texts]
        line = self._number(f"lower({key})", self.redaction.line, self.of(f"lower({key})"))
        return f"multiIf({', '.join([*of_texts, f'e.6, {line}', self.of(f'lower({key})')])})"

    def type(self, key: str) -> str:
        """Return the key type of the attribute *key*: what the policy says, else the end of its name, else its name."""
        names = self.redaction.attributes
        exact: dict[str, list[str]] = {}
        for name, treatment in names.exact.items():
            if treatment.type and name not in (f"{prefix}{treatment.type}" for prefix in KEY_PREFIXES):
                exact.setdefault(treatment.type, []).append(name)
        branches = [f"{key} IN ({_texts(found)}), {literal(type_)}" for type_, found in exact.items()]
        branches += [f"match({key}, {_whole(e)}), {literal(t.type)}" for e, t in names.expressions if t.type]
        branches += [f"startsWith({key}, {literal(p)}), substring({key}, {len(p) + 1})" for p in KEY_PREFIXES]
        return f"multiIf({', '.join([*branches, key])})"

    def _unspelled(self, number: int) -> int:
        return number if number == _DROP else _UNLISTED + number

    def _of_text(self, treatment: Treatment) -> int:
        return _CLEAR if treatment.action == "drop" else self.number(treatment)

    def _number(self, key: str, names: Names, other: str) -> str:
        grouped: dict[int, list[str]] = {}
        for name, treatment in names.exact.items():
            grouped.setdefault(self.number(treatment), []).append(name)
        branches = [f"{key} IN ({_texts(found)}), {number}" for number, found in grouped.items()]
        for number, group in groupby(names.expressions, key=lambda pair: self.number(pair[1])):
            of_group = _whole("|".join(expression for expression, _ in group))
            branches.append(f"match({key}, {of_group}), {self._unspelled(number)}")
        return f"multiIf({', '.join([*branches, other])})" if branches else other


class _Search:
    """What the patterns find."""

    def __init__(self, redaction: Redaction) -> None:
        self._patterns = redaction.patterns
        self._rules = redaction.rules
        self.any_pattern = literal("|".join(f"(?:{find})" for find, _ in redaction.patterns))

    def finds(self, text: str) -> str:
        """Return whether a pattern finds something in *text*, as it stands or in the base64 in it."""
        return f"({self.plainly(text)} OR {self.hidden(text)})" if self._patterns else "false"

    def plainly(self, text: str) -> str:
        """Return whether a pattern finds something in *text* as it stands."""
        return f"match({text}, any_pattern)" if self._patterns else "false"

    def rules(self, text: str, masked: str) -> str:
        """Return the names of the masks that stand in *masked* and not in *text*."""
        labels = _texts(f"[{name}]" for name in self._rules)
        more = f"countSubstrings({masked}, label) > countSubstrings({text}, label)"
        return f"arrayMap(label -> trim(BOTH '[]' FROM label), arrayFilter(label -> {more}, [{labels}]))"

    def masked(self, text: str) -> str:
        """Return *text* without what the patterns find."""
        for find, mask in self._patterns:
            text = f"replaceRegexpAll({text}, {literal(find)}, {literal(mask)})"
        runs = literal(BASE64_RUN)
        return f"arrayMap(m -> if({self.hidden('m')}, replaceRegexpAll(m, {runs}, {literal(BASE64_MASK)}), m), [{text}])[1]"

    def fits(self, text: str, shape: str) -> str:
        """Return whether *text* has a shape and holds nothing to be masked."""
        return f"(length({text}) <= {LONGEST_SHAPED} AND match({text}, {_whole(shape)}) AND NOT {self.finds(text)})"

    def hidden(self, text: str) -> str:
        """Return whether a pattern finds something in the base64 in *text*."""
        plain = "translate(trimRight(run, '='), '-_', '+/')"
        decoded = f"tryBase64Decode(concat({plain}, substring('===', 1, (4 - length({plain}) % 4) % 4)))"
        runs = f"extractAll({text}, {literal(BASE64_RUN)})"
        return f"(length({text}) >= {LEAST_HIDDEN} AND arrayExists(run -> match({decoded}, any_pattern), {runs}))"


class _Rows:
    """How a row is taken apart and put together. An entry: 1 nothing, 2 element, 3 place, 4 name, 5 value, 6 of a line."""

    def __init__(self, rows: Audited) -> None:
        self._rows = rows
        # Texts come first, so that their entries have numbers that are known.
        ordered = sorted(rows.places, key=lambda place: place.kind != "text")
        self._places = {place.column: (number, place) for number, place in enumerate(ordered, start=1)}

    def texts(self, redaction: Redaction) -> list[tuple[int, Treatment]]:
        """Return the places of texts and what happens to each; one that the policy does not name is not listed."""
        return [
            (number, redaction.texts.get(place.field, redaction.unlisted))
            for number, place in self._places.values()
            if place.kind in ("text", "texts")
        ]

    def dirty(self, kinds: _Kinds, found: _Search) -> str:
        """Return whether anything in a row is to be changed: one search over all its attributes, one over its texts."""
        texts = dict(self.texts(kinds.redaction))
        ways: dict[Treatment, list[str]] = {}
        keys, values = [], []
        for number, place in self._places.values():
            column = quoted(place.column)
            if number in texts:
                text = f"[toString({column})]" if place.kind == "text" else f"arrayMap(t -> toString(t), {column})"
                ways.setdefault(texts[number], []).append(text)
            elif place.kind == "map":
                keys.append(f"mapKeys({column})")
                values.append(f"mapValues({column})")
            else:
                keys.append(f"arrayFlatten(arrayMap(m -> mapKeys(m), {column}))")
                values.append(f"arrayFlatten(arrayMap(m -> mapValues(m), {column}))")
        searched = [
            f"arrayExists(text -> {changes}, arrayConcat({', '.join(each)}))"
            for treatment, each in ways.items()
            if (changes := _changes("text", treatment, found))
        ]
        if keys:
            every = (f"arrayConcat({', '.join(keys)})", f"arrayConcat({', '.join(values)})")
            searched.append(f"({_suspicious(*every, kinds, found)} AND {_dirty_pairs(*every, kinds, found)})")
        return " OR ".join(searched) or "false"

    def entries(self) -> str:
        """Return everything in a row that can hold patients' data, as one array."""
        return f"arrayConcat({', '.join(self._entries(number, place) for number, place in self._places.values())})"

    def _entries(self, number: int, place: Place) -> str:
        column = quoted(place.column)
        if place.kind == "text":
            return f"[{_entry(number, '0', chr(39) * 2, f'toString({column})')}]"
        if place.kind == "texts":
            return f"arrayMap((text, i) -> {_entry(number, 'i', chr(39) * 2, 'toString(text)')}, {column}, arrayEnumerate({column}))"
        if place.kind == "map":
            return (
                f"arrayMap((k, v) -> {_entry(number, '0', 'toString(k)', 'v')}, mapKeys({column}), mapValues({column}))"
            )
        line = f"{quoted(place.events)}[i] = {literal(LINE_EVENT)}" if place.events else "false"
        inner = f"arrayMap((k, v) -> {_entry(number, 'i', 'toString(k)', 'v', line)}, mapKeys(m), mapValues(m))"
        return f"arrayFlatten(arrayMap((m, i) -> {inner}, {column}, arrayEnumerate({column})))"

    def issuer(self, entry: str, type_: str) -> str:
        """Return who issued the key in an entry: by the attributes that it stands with, else by the row's own."""
        name = f"concat({literal(SCOPE)}, {type_})"
        own = [
            f"{entry}.3 = {number}, {quoted(place.column)}{f'[{entry}.2]' if place.kind == 'maps' else ''}[{name}]"
            for number, place in self._places.values()
            if place.kind in ("map", "maps")
        ]
        return f"coalesce(nullIf(multiIf({', '.join([*own, chr(39) * 2])}), ''), {quoted(self._rows.issuers)}[{name}])"

    def audit(self) -> str:
        """Return what was done in a row: field:rule=times, sorted."""
        fields = _texts(place.field for _, place in sorted(self._places.values(), key=lambda pair: pair[0]))
        every = f"arrayFlatten(arrayMap((e, t) -> arrayMap(rule -> concat([{fields}][e.3], ':', rule), t.3), entries, treated))"
        counted = (
            "arrayMap(what -> concat(what, '=', toString(countEqual(every, what))), arraySort(arrayDistinct(every)))"
        )
        return f"arrayStringConcat(arrayFlatten(arrayMap(every -> {counted}, [{every}])), ' ')"

    def rebuilt(self) -> str:
        """Return the maps of a changed row, in the order of their places: one expression for all of them."""
        wanted = [f"[(toUInt8({number}), toUInt32(0))]" for number, _ in self._of_kind("map")]
        for number, place in self._of_kind("maps"):
            column = quoted(place.column)
            wanted.append(f"arrayMap(i -> (toUInt8({number}), toUInt32(i)), arrayEnumerate({column}))")
        kept = "arrayFilter((t, e) -> e.3 = w.1 AND e.2 = w.2 AND NOT t.4, treated, entries)"
        audited = f"w.1 = {self._places[self._rows.audit][0]} AND audit != ''"
        pairs = f"arrayConcat(arrayMap(t -> (t.2, t.1), {kept}), if({audited}, [({literal(AUDIT)}, audit)], []))"
        made = f"arrayMap(w -> CAST({pairs}, 'Map(LowCardinality(String), String)'), arrayConcat({', '.join(wanted)}))"
        return f"if(changed, {made}, [])"

    def _of_kind(self, kind: str) -> list[tuple[int, Place]]:
        return [(number, place) for number, place in self._places.values() if place.kind == kind]

    def column(self, name: str) -> str:
        """Return a column of the row, put together again where anything was changed in it."""
        column = quoted(name)
        if name == "ServiceName" and "ResourceAttributes" in self._places:
            return f"if(changed, rebuilt[{self._at('ResourceAttributes')}]['service.name'], toString({column}))"
        if name not in self._places:
            return column
        number, place = self._places[name]
        if place.kind == "text":
            return f"if(changed, treated[{number}].1, toString({column}))"
        if place.kind == "texts":
            own = f"arrayFilter((t, e) -> e.3 = {number}, treated, entries)"
            return f"if(changed, arrayMap(t -> t.1, {own}), arrayMap(text -> toString(text), {column}))"
        if place.kind == "map":
            return f"if(changed, rebuilt[{self._at(name)}], {column})"
        before = [f"length({quoted(other.column)})" for at, other in self._of_kind("maps") if at < number]
        start = " + ".join([str(1 + len(self._of_kind("map"))), *before])
        return f"if(changed, arraySlice(rebuilt, {start}, length({column})), {column})"

    def _at(self, column: str) -> int:
        """Return where the map of *column* stands in ``rebuilt``."""
        return 1 + [place.column for _, place in self._of_kind("map")].index(column)


def _entry(place: int, element: str, key: str, value: str, line: str = "false") -> str:
    return f"(0, toUInt32({element}), toUInt8({place}), {key}, {value}, toBool({line}))"


def _changes(text: str, treatment: Treatment, found: _Search) -> str:
    """Return whether a text field is to be changed; nothing when it never is."""
    if treatment.action == "keep":
        return ""
    if treatment.action == "drop":
        return f"{text} != ''"
    if treatment.action == "shape":
        return f"({text} != '' AND NOT {found.fits(text, treatment.shape)})"
    return found.finds(text)


def _suspicious(keys: str, values: str, kinds: _Kinds, found: _Search) -> str:
    """Return whether an attribute may have to be changed: names and values are searched as one text, in a sixth of the time.

    What is found in a value that is kept, or from a name into its value, is found for nothing.
    """
    joined = f"arrayStringConcat(arrayMap((k, v) -> concat(k, '\\x1f', v), {keys}, {values}), '\\x1e')"
    hidden = f"arrayExists(v -> {found.hidden('v')}, {values})" if found.any_pattern != "''" else "false"
    name = literal(f"(?i)(?:^|\\x1e)(?:{kinds.changing()})\\x1f")
    ways = [f"match(joined, {name})", found.plainly("joined"), hidden]
    return "true" if kinds.shapes else f"arrayExists(joined -> {' OR '.join(ways)}, [{joined}])"


def _dirty_pairs(keys: str, values: str, kinds: _Kinds, found: _Search) -> str:
    """Return whether an attribute is to be changed; of most the name alone says that it is not."""
    shapes = [
        f"(kind % 100 = {_SHAPES + number} AND v != '' AND NOT {found.fits('v', shape)})"
        for number, (shape, _) in enumerate(kinds.shapes)
    ]
    ways = [
        f"kind % 100 IN ({_DROP}, {_TOKEN})",
        f"(kind % 100 IN ({_MASK}, {_MASK_OR_TOKEN}) AND {found.finds('v')})",
        *shapes,
        f"(kind >= {_UNLISTED} AND {found.plainly('k')})",
    ]
    kind = f"arrayMap(k -> {kinds.of('lower(k)')}, {keys})"
    return f"arrayExists((k, v, kind) -> {' OR '.join(ways)}, {keys}, {values}, {kind})"


def _wants_token(kinds: _Kinds, found: _Search) -> str:
    """Return whether the value of an entry has to become a token."""
    shaped = [
        f"(kind % 100 = {_SHAPES + number} AND NOT {found.fits('e.5', shape)})"
        for number, (shape, or_token) in enumerate(kinds.shapes)
        if or_token
    ]
    return " OR ".join([f"kind % 100 = {_TOKEN}", f"(kind % 100 = {_MASK_OR_TOKEN} AND m != e.5)", *shaped])


def _tokens(value: str, type_: str, issuer: str, versions: Sequence[int]) -> str:
    """Return (value, rule) for a value that has to become a token; the rule is empty when it is one already."""
    raw = f"if(startsWith({value}, '[') AND isValidJSON({value}), JSONExtractArrayRaw({value}), [toJSONString(toValidUTF8({value}))])"
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
    long = f"arrayExists(text -> length(text) > {LONGEST_TOKENISED}, texts) OR arrayExists(part -> match(part, '^[{{\\\\[]'), {parts})"
    known = f"arrayAll(text -> match(text, {literal(FORM)}), texts)"
    enough = f"length({KEYS_COLUMN}) >= {len(versions)}" if versions else "false"
    return (
        f"arrayMap(texts -> multiIf({long}, ('', 'drop'), {known}, ({value}, ''), NOT ({enough}), ('', 'no_key'), "
        f"(arrayMap(every -> {put}, [{every}])[1], 'token')), [{texts}])[1]"
    )


def _treated(kinds: _Kinds, found: _Search) -> str:
    """Return (value, name, rules, gone) for an entry."""
    ways = [
        f"kind % 100 = {_DROP}, ('', name, ['drop'], true)",
        f"kind = {_CLEAR}, ('', name, if(e.5 = '', [], ['drop']), false)",
        "w, (t.1, name, if(t.2 = '', [], [t.2]), t.2 IN ('drop', 'no_key'))",
        f"kind % 100 = {_MASK}, (m, name, {found.rules('e.5', 'm')}, false)",
    ]
    ways += [
        f"kind % 100 = {_SHAPES + number} AND e.5 != '' AND NOT {found.fits('e.5', shape)}, ({literal(REDACTED)}, name, ['shape'], false)"
        for number, (shape, or_token) in enumerate(kinds.shapes)
        if not or_token
    ]
    made = f"multiIf({', '.join([*ways, '(e.5, name, [], false)'])})"
    return f"arrayMap(made -> (made.1, made.2, if(name != e.4, arrayPushBack(made.3, 'name'), made.3), made.4), [{made}])[1]"


def literal(text: str) -> str:
    """Return *text* as a literal of SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\0", "\\0")
    return f"'{escaped}'"


def quoted(name: str) -> str:
    """Return the name of a column, quoted where it needs to be."""
    return f"`{name}`" if "." in name else name


def _texts(of: Iterable[str]) -> str:
    return ", ".join(literal(each) for each in of)


def _whole(expression: str) -> str:
    return literal(f"^(?:{expression})$")
