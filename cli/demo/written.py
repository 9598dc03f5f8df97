"""The simulated systems as those that nobody instruments: what each writes into its log, and the rules by which it is read.

A record names the trace and the span that the truth knows its step by, so that ``score`` judges what was read as well.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from controltower.cli.demo.model import BusinessStep, Plan, PlannedLine, PlannedSpan, PlannedTrace
from controltower.cli.errors import CommandError

VALUES: Final = ("business_time", "amount", "currency", "outcome", "reason")
LINE: Final = ("line", "item", "uom", "quantity", "unit_price", "amount")
SOURCES: Final = "sources.yaml"
PARTS: Final = ("keys", "scopes", "context")
KIND: Final = ("step", "style", "actor", "failed")

Json = dict[str, Any]
PathOf = Callable[[str], str]
"""Gives what a rule calls a field of a record, by the field's dotted name."""


class Written(NamedTuple):
    """What a system writes of one step."""

    system: str
    record: Json


def write_logs(folder: Path, plan: Plan) -> tuple[Path, int]:
    """Write the log of each system into *folder*, and a file of sources that reads them; return it and the number of records.

    CommandError when they cannot be written.
    """
    logs: dict[str, list[Json]] = defaultdict(list)
    for each in written(plan):
        logs[each.system].append(each.record)
    sources = folder / SOURCES
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for system, records in logs.items():
            with (folder / f"{system}.log").open("w", encoding="utf-8") as file:
                file.writelines(f"{line_of(record)}\n" for record in records)
        told = {system: _source(system, records) for system, records in sorted(logs.items())}
        sources.write_text(yaml.safe_dump({"sources": told}, sort_keys=False, width=120), encoding="utf-8")
    except OSError as exc:
        raise CommandError(f"The logs cannot be written to {folder}: {exc.strerror}.") from exc
    return sources, sum(map(len, logs.values()))


def line_of(record: Json) -> str:
    """Return a record as a line of a log."""
    return json.dumps(record, separators=(",", ":"))


def _source(system: str, records: Sequence[Json]) -> Json:
    return {"kind": "log", "files": [f"{system}.log*"], "format": "json", "rules": rules(records)}


def as_json(name: str) -> str:
    """Return the JSONPath of a field."""
    return f"$.{name}"


def written(plan: Plan) -> Iterator[Written]:
    """Yield what is written of each step, in the order in which the systems would send it."""
    for trace, span, step in sorted(plan.all_steps(), key=lambda each: each[0].send_at):
        yield Written(trace.system, _record(trace, span, step))


def _record(trace: PlannedTrace, span: PlannedSpan, step: BusinessStep) -> Json:
    stated = {
        "business_time": step.business_time.isoformat() if step.business_time else None,
        "amount": step.amount,
        "currency": step.currency,
        "outcome": step.outcome,
        "reason": step.reason,
        "run": trace.run.run_id if trace.run else None,
    }
    parts = {"keys": step.keys, "scopes": step.scopes, "context": step.context}
    return {
        "at": span.start.isoformat(),
        "step": step.code,
        "style": step.style,
        "actor": step.actor,
        "failed": "yes" if span.error else "no",
        "trace_id": span.ref.trace_id,
        "span_id": span.ref.span_id,
        **{name: str(value) for name, value in stated.items() if value is not None},
        **{name: {type_: _json(value) for type_, value in part.items()} for name, part in parts.items() if part},
        **({"lines": [_line(line) for line in step.lines]} if step.lines else {}),
    }


def _json(value: str | Sequence[str]) -> str | list[str]:
    return value if isinstance(value, str) else [*value]


def _line(line: PlannedLine) -> Json:
    stated = {
        "line": line.number,
        "item": line.item,
        "quantity": line.quantity,
        "uom": line.uom,
        "unit_price": line.unit_price,
        "amount": line.amount,
        line.order.type: line.order.value if line.named else None,
    }
    return {name: str(value) for name, value in stated.items() if value is not None}


def rules(records: Sequence[Json], path: PathOf = as_json) -> list[Json]:
    """Return the rules by which all of *records* are read: one for each kind of step."""
    kinds: dict[tuple[str, ...], list[Json]] = {}
    for record in records:
        kinds.setdefault(tuple(record[name] for name in KIND), []).append(record)
    return [_rule(kind, alike, path) for kind, alike in sorted(kinds.items())]


def _rule(kind: Sequence[str], alike: Sequence[Json], path: PathOf) -> Json:
    told = dict(zip(KIND, kind, strict=True))
    rule: Json = {
        "when": {path(name): value for name, value in told.items()},
        **{name: told[name] for name in ("step", "style", "actor")},
        "failed": told["failed"] == "yes",
        "time": path("at"),
        "trace": {"trace_id": path("trace_id"), "span_id": path("span_id")},
        **{name: path(name) for name in VALUES if _said(alike, name)},
    }
    for part in PARTS:
        if types := sorted({type_ for record in alike for type_ in record.get(part, ())}):
            rule[part] = {type_: {"field": path(f"{part}.{type_}"), "optional": True} for type_ in types}
    if _said(alike, "run"):
        rule["run"] = {"id": path("run")}
    if lines := [line for record in alike for line in record.get("lines", ())]:
        rule["lines"] = _lines(lines, path("lines[*]"))
    return rule


def _lines(lines: Sequence[Mapping[str, str]], each: str) -> Json:
    names = sorted({name for line in lines for name in line})
    keys = {name: name for name in names if name not in LINE}
    return {"each": each, **{name: name for name in names if name in LINE}, **({"keys": keys} if keys else {})}


def _said(records: Sequence[Json], name: str) -> bool:
    return any(name in record for record in records)
