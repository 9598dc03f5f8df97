"""Forms that lines of logs have: what a record holds by name, read in time that is linear in its length."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from controltower.collector.scrapers.errors import Rejection

LogFormat = Literal[
    "text", "json", "csv", "logfmt", "syslog", "syslog_3164", "syslog_5424", "access_common", "access_combined"
]
Parse = Callable[[str], dict[str, Any]]

LINE: Final = "line"  # the field that every record has: all of it
MOST_FIELDS: Final = 1_000  # of one record

_SEVERITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_HIGHEST_PRIORITY: Final = 191

# Each part of these patterns ends where the next begins, by a character that it cannot hold: nothing is tried twice.
_PRIORITY: Final = r"(?:<(?P<priority>\d{1,3})>)?"
_SYSLOG_3164: Final = re.compile(
    _PRIORITY + r"(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})?|\d{4}-\d\d-\d\dT[^ ]{8,40}) "
    r"(?P<host>[^ ]{1,255}) (?P<app>[^ :\[]{1,255})(?:\[(?P<pid>[^\]]{0,255})\])?: ?(?P<message>.*)",
    re.DOTALL,
)
_SYSLOG_5424: Final = re.compile(
    r"(?:<(?P<priority>\d{1,3})>)?1 (?P<time>[^ ]{1,64}) (?P<host>[^ ]{1,255}) (?P<app>[^ ]{1,48}) (?P<pid>[^ ]{1,128}) "
    r"(?P<msgid>[^ ]{1,32}) (?P<rest>.*)",
    re.DOTALL,
)
_NEWER: Final = re.compile(r"(?:<\d{1,3}>)?1 ")
_SD_NAME: Final = re.compile(r'[^ ="\]\x00-\x20\x7f-\U0010ffff]{1,32}')
_SD_VALUE: Final = re.compile(r'="((?:[^"\\\]]|\\.)*)"', re.DOTALL)
_SD_ESCAPE: Final = re.compile(r'\\(["\\\]])')
_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_ACCESS: Final = (
    r"(?P<client>[^ ]+) (?P<ident>[^ ]+) (?P<user>[^\[]*?) ?\[(?P<time>[^\]]{26})\] "
    + _QUOTED.replace("(", "(?P<request>", 1)
    + r" (?P<status>\d{3}|-) (?P<size>\d+|-)"
)
_COMBINED: Final = r' "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"'
_ACCESS_COMMON: Final = re.compile(_ACCESS + r"(?P<rest>.*)", re.DOTALL)
_ACCESS_COMBINED: Final = re.compile(_ACCESS + _COMBINED + r"(?P<rest>.*)", re.DOTALL)
_METHOD: Final = re.compile("[A-Z]{1,20}")
_NOTHING: Final = ("-", "")  # how a server writes that there is none
_LOGFMT: Final = re.compile(r'([^ ="\x00-\x20]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^ "]*)))?(?= |$)')
_LOGFMT_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Form:
    """One format: how a record is read, the fields it can have (none: whatever is written), and which are its time."""

    parse: Parse
    fields: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    time_form: str = "iso"


def _text(value: str) -> str:
    return value


# Made once: `json.loads` makes one for each call that says how numbers are read, which takes as long as reading a line.
_DECODER: Final = json.JSONDecoder(parse_float=_text, parse_int=_text, parse_constant=_text)


def as_texts(text: str) -> Any:
    """Return what JSON says, with numbers as the texts they are; ValueError, RecursionError."""
    return _DECODER.decode(text)


def parse_json(text: str) -> dict[str, Any]:
    """Return the object of a line; numbers stay the texts they are."""
    try:
        found = as_texts(text)
    except (ValueError, RecursionError):
        raise Rejection("not_json") from None
    if not isinstance(found, dict):
        raise Rejection("not_json", "an object is expected")
    return found


def csv_parser(columns: tuple[str, ...], delimiter: str) -> Parse:
    """Return what reads a row of *columns*; one that only names them is a header, and has no fields."""

    def parse_csv(text: str) -> dict[str, Any]:
        try:
            rows = list(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error:
            raise Rejection("not_csv") from None
        if len(rows) != 1 or len(rows[0]) != len(columns):
            raise Rejection("not_csv", f"{len(columns)} columns are expected")
        return {} if tuple(rows[0]) == columns else dict(zip(columns, rows[0], strict=True))

    return parse_csv


def parse_logfmt(text: str) -> dict[str, Any]:
    """Return key=value pairs; a key without a value is ``true``."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        match = _LOGFMT.match(text, at)
        if match is None:
            raise Rejection("not_logfmt")
        name, quoted, plain = match.groups()
        if quoted is not None:
            found[name] = _LOGFMT_ESCAPE.sub(_unescaped, quoted) if "\\" in quoted else quoted
        else:
            found[name] = plain if plain is not None else "true"
        if len(found) > MOST_FIELDS:
            raise Rejection("too_many_fields")
        at = match.end()
    if not found:
        raise Rejection("not_logfmt")
    return found


def parse_syslog_3164(text: str) -> dict[str, Any]:
    """Return a line of the older syslog, with or without its priority, as files have it."""
    match = _SYSLOG_3164.fullmatch(text)
    if match is None:
        raise Rejection("not_syslog")
    return {name: value for name, value in match.groupdict().items() if value is not None} | _priority(match)


def parse_syslog_5424(text: str) -> dict[str, Any]:
    """Return a line of RFC 5424; structured data are fields ``id.name``."""
    match = _SYSLOG_5424.fullmatch(text)
    if match is None:
        raise Rejection("not_syslog")
    found = {name: value for name, value in match.groupdict().items() if value not in (None, "-", "") or name == "rest"}
    data, message = _structured(found.pop("rest"))
    return found | data | {"message": message.removeprefix("\ufeff")} | _priority(match)


def parse_syslog(text: str) -> dict[str, Any]:
    """Return a message of either syslog: the newer one says its version."""
    return parse_syslog_5424(text) if _NEWER.match(text) else parse_syslog_3164(text)


def parse_access_common(text: str) -> dict[str, Any]:
    """Return a line of the common log format; what a server adds behind it is ``rest``."""
    return _access(_ACCESS_COMMON, text)


def parse_access_combined(text: str) -> dict[str, Any]:
    """Return a line of the combined log format: the common one with referer and agent."""
    return _access(_ACCESS_COMBINED, text)


def _access(form: re.Pattern[str], text: str) -> dict[str, Any]:
    match = form.fullmatch(text)
    if match is None:
        known = form is _ACCESS_COMBINED and _ACCESS_COMMON.fullmatch(text)
        raise Rejection("not_access_log", "referer and agent are expected" if known else "")
    found = {name: value for name, value in zip(form.groupindex, match.groups(), strict=True) if value not in _NOTHING}
    request = found.get("request", "").split(" ")
    if len(request) in (2, 3) and all(request) and _METHOD.fullmatch(request[0]):
        found["method"] = request[0]
        found["path"], _, query = request[1].partition("?")
        if query:
            found["query"] = query
        if len(request) > 2:
            found["protocol"] = request[2]
    return found


def _unescaped(match: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1])


def _priority(match: re.Match[str]) -> dict[str, str]:
    if match["priority"] is None:
        return {}
    number = int(match["priority"])
    if number > _HIGHEST_PRIORITY:
        raise Rejection("not_syslog", "priority")
    return {"facility": str(number // 8), "severity": _SEVERITIES[number % 8]}


def _structured(text: str) -> tuple[dict[str, str], str]:
    """Split structured data from the message behind it."""
    if text == "-" or text.startswith("- "):
        return {}, text[2:]
    found: dict[str, str] = {}
    at = 0
    while text.startswith("[", at):
        name = _SD_NAME.match(text, at + 1)
        if name is None:
            raise Rejection("not_syslog", "structured data")
        at = name.end()
        while text.startswith(" ", at):
            parameter = _SD_NAME.match(text, at + 1)
            value = _SD_VALUE.match(text, parameter.end()) if parameter else None
            if parameter is None or value is None or len(found) >= MOST_FIELDS:
                raise Rejection("not_syslog", "structured data")
            found[f"{name[0]}.{parameter[0]}"] = _SD_ESCAPE.sub(r"\1", value[1])
            at = value.end()
        if not text.startswith("]", at):
            raise Rejection("not_syslog", "structured data")
        at += 1
    if at == 0 or (at < len(text) and text[at] != " "):
        raise Rejection("not_syslog", "structured data")
    return found, text[at + 1 :]


_SYSLOG_FIELDS: Final = ("time", "host", "app", "pid", "message", "facility", "severity", "priority")
_ACCESS_FIELDS: Final = (
    *("client", "ident", "user", "time", "request", "method", "path", "query", "protocol", "status", "size", "rest"),
)
_USUAL_TIMES: Final = ("time", "timestamp", "@timestamp", "ts")

FORMATS: Final[dict[str, Form]] = {
    "text": Form(lambda text: {LINE: text}, (LINE,)),
    "json": Form(parse_json, (), _USUAL_TIMES),
    "csv": Form(csv_parser((LINE,), ","), (), _USUAL_TIMES),  # a source makes its own, of its columns
    "logfmt": Form(parse_logfmt, (), _USUAL_TIMES),
    "syslog": Form(parse_syslog, (), ("time",), "syslog"),
    "syslog_3164": Form(parse_syslog_3164, _SYSLOG_FIELDS, ("time",), "syslog"),
    "syslog_5424": Form(parse_syslog_5424, (), ("time",)),
    "access_common": Form(parse_access_common, _ACCESS_FIELDS, ("time",), "access_log"),
    "access_combined": Form(parse_access_combined, (*_ACCESS_FIELDS, "referer", "agent"), ("time",), "access_log"),
}
