"""The truth file: JSON lines, a header first, then one line per transaction and one per step that belongs to none."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from controltower.cli.demo.facts import DeadlineFact, Facts, Member, facts_of
from controltower.cli.demo.model import Anchor, Plan
from controltower.cli.demo.published import flow_of
from controltower.cli.demo.verdicts import MatchFact, match, state
from controltower.cli.errors import CommandError

VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class TrueTransaction:
    """What really happened to one transaction, and what is to be said of it at any time."""

    facts: Facts
    matches: tuple[MatchFact, ...]

    @property
    def anchor(self) -> Anchor:
        """Its anchor."""
        return self.facts.anchor

    @property
    def flow(self) -> str:
        """The flow that it goes through."""
        return self.facts.flow


@dataclass(frozen=True, slots=True)
class Truth:
    """A truth file's content."""

    header: dict[str, Any]
    transactions: tuple[TrueTransaction, ...]
    loose: tuple[Member, ...]  # steps that belong to no transaction

    @property
    def flows(self) -> tuple[str, ...]:
        """The flows that it tells of, in the order in which it tells of them."""
        return tuple(self.header["flows"])

    def of_flow(self, flow: str) -> "Truth":
        """Return what it says of one flow."""
        transactions = tuple(each for each in self.transactions if each.flow == flow)
        return Truth(self.header, transactions, tuple(each for each in self.loose if flow_of(each.step) == flow))


def truth_of(plan: Plan, **header: object) -> Truth:
    """Return what really happens in *plan*."""
    transactions = tuple(TrueTransaction(facts, tuple(map(match, facts.lines))) for facts in facts_of(plan))
    loose = tuple(
        Member(*span.ref, step.code, "")
        for _, span, step in plan.all_steps()
        if not step.anchors and flow_of(step.code) in plan.flows
    )
    given = {
        "kind": "header",
        "version": VERSION,
        "flows": list(plan.flows),
        "seed": plan.seed,
        "end": plan.end.isoformat(),
        "transactions": len(transactions),
        "spans": plan.span_count,
        "faults": dict(plan.faults),
        **header,
    }
    return Truth(given, transactions, loose)


def write_truth(path: Path, truth: Truth) -> None:
    """Write the file; CommandError when it cannot be written."""
    try:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines_of(truth))
    except OSError as exc:
        raise CommandError(f"The truth cannot be written to {path}: {exc.strerror}.") from exc


def lines_of(truth: Truth) -> Iterator[dict[str, Any]]:
    """Yield the file's lines."""
    yield truth.header
    end = datetime.fromisoformat(truth.header["end"])
    for transaction in truth.transactions:
        yield _transaction_line(transaction, end)
    for member in truth.loose:
        yield {"kind": "loose", "trace_id": member.trace_id, "span_id": member.span_id, "step": member.step}


def _transaction_line(transaction: TrueTransaction, end: datetime) -> dict[str, Any]:
    facts = transaction.facts
    return {
        "kind": "transaction",
        "flow": facts.flow,
        "anchor": facts.anchor._asdict(),
        "state_at_end": state(facts, transaction.matches, end),
        "final": facts.final,
        "cancelled_at": _text(facts.cancelled_at),
        "unhealed": list(facts.unhealed),
        "members": [[member.trace_id, member.span_id, member.step, member.stage] for member in facts.members],
        "deadlines": [
            {
                "rule": fact.rule,
                "subject": fact.subject,
                "from_at": _text(fact.from_at),
                "due_at": _text(fact.due_at),
                "met_at": _text(fact.met_at),
            }
            for fact in facts.deadlines
        ],
        "matches": [
            {
                "line": fact.line,
                "status_before": fact.status_before,
                "reason_before": fact.reason_before,
                "window_ends_at": _text(fact.window_ends_at),
                "status_after": fact.status_after,
                "reason_after": fact.reason_after,
            }
            for fact in transaction.matches
        ],
    }


def read_truth(path: Path) -> Truth:
    """Read a truth file; CommandError with the line that is wrong."""
    try:
        with path.open(encoding="utf-8") as file:
            return _parsed(path, file)
    except FileNotFoundError:
        raise CommandError(f"There is no truth file {path}; `controltower demo --truth {path}` writes one.") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(f"The truth file {path} cannot be read: {exc}.") from exc


def _parsed(path: Path, file: Iterable[str]) -> Truth:
    header: dict[str, Any] = {}
    transactions: list[TrueTransaction] = []
    loose: list[Member] = []
    for number, text in enumerate(file, start=1):
        try:
            line = json.loads(text)
            kind = line["kind"]
            if kind == "header":
                header = _checked_header(path, line)
            elif kind == "transaction":
                transactions.append(_transaction(line))
            else:
                loose.append(Member(line["trace_id"], line["span_id"], line["step"], ""))
        except (ValueError, KeyError, TypeError) as exc:
            raise CommandError(
                f"{path}:{number}: this is no line of a truth file ({type(exc).__name__}: {exc})."
            ) from exc
    if not header:
        raise CommandError(f"{path} is no truth file: its first line is not a header.")
    return Truth(header, tuple(transactions), tuple(loose))


def _checked_header(path: Path, line: dict[str, Any]) -> dict[str, Any]:
    if line.get("version") != VERSION:
        raise CommandError(f"{path} is of version {line.get('version')}, this program reads {VERSION}; write it again.")
    return line


def _transaction(line: dict[str, Any]) -> TrueTransaction:
    facts = Facts(
        flow=line["flow"],
        anchor=Anchor(**line["anchor"]),
        members=tuple(Member(*entry) for entry in line["members"]),
        deadlines=tuple(
            DeadlineFact(
                rule=entry["rule"],
                subject=entry["subject"],
                from_at=datetime.fromisoformat(entry["from_at"]),
                due_at=datetime.fromisoformat(entry["due_at"]),
                met_at=_moment(entry["met_at"]),
            )
            for entry in line["deadlines"]
        ),
        lines=(),
        final=bool(line["final"]),
        cancelled_at=_moment(line["cancelled_at"]),
        unhealed=tuple(line["unhealed"]),
    )
    matches = tuple(
        MatchFact(**{**entry, "window_ends_at": _moment(entry["window_ends_at"])}) for entry in line["matches"]
    )
    return TrueTransaction(facts, matches)


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
