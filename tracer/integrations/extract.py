"""Business keys taken from messages and requests by rules instead of code: JSONPath, XPath, fields of forms, headers.

Only what a rule names is looked at, and only the value that it finds is kept. A body that cannot be read, or is too
large, costs its keys and nothing else; both are counted.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from controltower.tracer import values
from controltower.tracer.errors import MissingExtraError, SettingError
from controltower.tracer.propagation import MAX_TRAVELLING
from controltower.tracer.system import System

Rules = Mapping[str, str | Mapping[str, str]]  # key type -> path, for all; or place -> key type -> path
Pairs = Iterable[tuple[Any, Any]]
Find = Callable[[Any], Iterable[Any]]  # what a body was read into -> what a path finds in it

VARIABLE: Final = "CONTROLTOWER_EXTRACT"
MAX_BODY: Final = 1024 * 1024  # bytes; a longer one is a file, and reading it would hold up the host
HEADER: Final = "header:"
FORM: Final = "form:"
TOO_LARGE: Final = "extract_too_large"
UNREADABLE: Final = "extract_unreadable"
TOO_MANY: Final = "extract_too_many"  # a rule found more keys of a type than can travel
EVERYWHERE: Final = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """Where the keys of one type are."""

    place: str  # a pattern: of queues and topics, or "POST /orders/*"
    type: str
    form: str  # json, xml, form, header
    name: str  # of a header or of a field
    find: Find | None = None  # for json and xml


class _Current:
    rules: Sequence[Rule] = ()


def use(rules: Sequence[Rule]) -> None:
    """Take keys by *rules* from now on."""
    _Current.rules = rules


def rules_from(given: Rules | None, environment: Mapping[str, str] = os.environ) -> tuple[Rule, ...]:
    """Return the rules of *given*, or of the file that ``CONTROLTOWER_EXTRACT`` names; a bad one raises ``SettingError``."""
    where, rules = "extract", given
    if given is None and (file := environment.get(VARIABLE)):
        where, rules = VARIABLE, _read(Path(file))
    found: list[Rule] = []
    for name, path in _mapping(rules or {}, where).items():
        if isinstance(path, str):
            found.append(_rule(EVERYWHERE, name, path, where))
        else:
            found += [_rule(name, type_, each, where) for type_, each in _mapping(path, where).items()]
    return tuple(found)


def applying(place: str) -> list[Rule]:
    """Return the rules for one place."""
    return [rule for rule in _Current.rules if fnmatchcase(place, rule.place)]


def keys_in(system: System, place: str, headers: Pairs, body: object) -> dict[str, tuple[str, ...]]:
    """Return the keys that the rules for *place* find; *body* is text, bytes or what JSON was read into."""
    rules = applying(place) if _Current.rules else ()
    if not rules:
        return {}
    found: dict[str, dict[str, None]] = {}
    with system.guard.around("extracting keys"):
        read = _Body(system, body)
        named = {_text(name).lower(): _text(value) for name, value in headers}
        for rule in rules:
            given = [named.get(rule.name)] if rule.form == "header" else read.found(rule)
            for value in given:
                for kept in values.key_values(rule.type, value, lambda kind, _: system.guard.count(kind)):
                    found.setdefault(rule.type, {})[kept] = None
        for type_ in [type_ for type_, kept in found.items() if len(kept) > MAX_TRAVELLING]:
            system.guard.count(TOO_MANY)
            del found[type_]
    few = {type_: tuple(kept) for type_, kept in found.items()}
    return system.pseudonyms.keys(few, {}, system.guard.note)


def wants_body(place: str) -> bool:
    """Return whether a rule for *place* looks into the body."""
    return any(rule.form != "header" for rule in applying(place))


class _Body:
    """One body, read at most once in each form."""

    def __init__(self, system: System, body: object) -> None:
        self._system = system
        self._body = body
        self._read: dict[str, Any] = {}

    def found(self, rule: Rule) -> Iterable[Any]:
        """Return what a rule finds in it: strings and whole numbers."""
        document = self._document(rule.form)
        if document is None:
            return ()
        if rule.find is None:
            return list(document.get(rule.name, ()))
        try:
            found = rule.find(document)
        except (ValueError, RecursionError):
            self._system.guard.count(UNREADABLE)
            return ()
        return [each for each in found if isinstance(each, (str, int)) and not isinstance(each, bool)]

    def _document(self, form: str) -> Any:
        if form not in self._read:
            self._read[form] = self._as(form)
        return self._read[form]

    def _as(self, form: str) -> Any:
        body = self._body
        if form == "json" and isinstance(body, (dict, list)):  # a serializer of the host's reads and writes it
            return body
        if not isinstance(body, (str, bytes, bytearray)) or not body or not _looks(form, body):
            return None
        if len(body) > MAX_BODY:
            self._system.guard.count(TOO_LARGE)
            return None
        try:
            return _READ[form](body)
        except (ValueError, RecursionError):
            self._system.guard.count(UNREADABLE)
            return None


def _looks(form: str, body: str | bytes | bytearray) -> bool:
    """Return whether *body* begins as its form does: rules for all places meet bodies of every form."""
    first = body[:64].lstrip()
    beginning = first.decode("latin-1") if isinstance(first, (bytes, bytearray)) else first
    is_json, is_xml = beginning.startswith(("{", "[")), beginning.startswith(("<", "ï»¿<", "﻿<"))
    return {"json": is_json, "xml": is_xml, "form": not is_json and not is_xml}[form]


def _xml(body: str | bytes | bytearray) -> Any:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(body.encode() if isinstance(body, str) else bytes(body), parser)
    except etree.XMLSyntaxError as error:
        raise ValueError from error


def _form(body: str | bytes | bytearray) -> Any:
    text = body if isinstance(body, str) else bytes(body).decode("utf-8", "replace")
    return parse_qs(text, max_num_fields=1000)


_READ: Final[dict[str, Callable[[Any], Any]]] = {"json": json.loads, "xml": _xml, "form": _form}


# -- reading rules


def _rule(place: str, type_: str, path: object, where: str) -> Rule:
    if values.type_name(type_, "key", lambda kind, sentence: None) is None:
        raise SettingError(where, f"{type_[:40]!r} is not a key type: one snake_case word, such as purchase_order")
    if not isinstance(path, str) or not path:
        raise SettingError(where, f"the path of {type_} is a text")
    if path.startswith("$"):
        return Rule(place, type_, "json", "", _json_path(path, type_, where))
    if path.startswith("/"):
        return Rule(place, type_, "xml", "", _xpath(path, type_, where))
    for prefix, form in ((HEADER, "header"), (FORM, "form")):
        if path.startswith(prefix) and (name := path.removeprefix(prefix).strip()):
            return Rule(place, type_, form, name.lower() if form == "header" else name)
    raise SettingError(where, f"the path of {type_} is JSONPath ($.a), XPath (/a or //a), form:NAME or header:NAME")


def _json_path(path: str, type_: str, where: str) -> Find:
    try:
        from jsonpath_rfc9535 import JSONPathError, compile
    except ImportError as error:
        raise MissingExtraError("install controltower[extract] for paths into JSON") from error
    try:
        compiled = compile(path)
    except JSONPathError as error:
        raise SettingError(where, f"the path of {type_} is no JSONPath: {error}") from error

    def find(document: Any) -> list[Any]:
        try:
            nodes = [node.value for node in compiled.find(document)]
        except JSONPathError as error:
            raise ValueError from error
        return [value for node in nodes for value in (node if isinstance(node, list) else [node])]

    return find


def _xpath(path: str, type_: str, where: str) -> Find:
    try:
        from lxml import etree
    except ImportError as error:
        raise MissingExtraError("install controltower[extract] for paths into XML") from error
    try:
        compiled = etree.XPath(path, smart_strings=False)
    except etree.XPathError as error:
        raise SettingError(where, f"the path of {type_} is no XPath: {error}") from error

    def find(document: Any) -> list[Any]:
        try:
            nodes = compiled(document)
        except etree.XPathError as error:
            raise ValueError from error
        return [getattr(node, "text", node) for node in (nodes if isinstance(nodes, list) else [nodes])]

    return find


def _read(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        return json.loads(text) if file.suffix == ".json" else _yaml(text)
    except (OSError, ValueError) as error:
        raise SettingError(VARIABLE, f"the file cannot be read: {type(error).__name__}") from error


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError(f"{VARIABLE}: install controltower[extract] for YAML, or name a .json file") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError from error


def _mapping(given: object, where: str) -> Mapping[str, Any]:
    inner = given.get("extract", given) if isinstance(given, Mapping) and len(given) == 1 else given
    if not isinstance(inner, Mapping) or not all(isinstance(name, str) for name in inner):
        raise SettingError(where, "give a mapping of key types to paths, or of places to such mappings")
    return inner


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else str(value)
