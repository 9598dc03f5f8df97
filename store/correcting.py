"""Recording a correction: what a person names is looked up and checked, then appended. The engine applies it."""

import re
from dataclasses import dataclass, replace
from datetime import datetime

from clickhouse_connect.driver.client import Client

from controltower.store.errors import CorrectionError
from controltower.store.flows.classify import normalise
from controltower.store.flows.corrections import standing
from controltower.store.flows.definition import Flow
from controltower.store.queries import named
from controltower.store.reads.fetch import fetch, fetch_records
from controltower.store.rows import Correction, CorrectionAction, Key
from controltower.store.write import insert

_KEY = re.compile(r"([a-z][a-z0-9_]*):(.+)")
_STEP = re.compile(r"([^/]+)/([^/]+)")
_NO_KEY = Key("", "", "")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person wants, in their words: ``invoice:I-1``, ``purchase_order:PO-1@acme``, or ``TRACE/SPAN`` for a step."""

    action: CorrectionAction  # cut or confirm, or the undo of one of them
    one: str
    other: str
    user: str
    reason: str
    undoes: CorrectionAction | None = None  # which of the two an undo takes back


def record(client: Client, flow: Flow, decision: Decision, *, id: str, at: datetime) -> Correction:
    """Append what was decided and return it. Raises CorrectionError when it names nothing that is known, or no link of
    *flow*, or says what holds already."""
    correction = _checked(client, flow, decision, id, at)
    insert(client, [correction])
    return correction


def known(client: Client, flow: Flow, *texts: str) -> int:
    """Return how many of these keys are carried by steps of *flow*, or are its steps."""
    return sum(_is_known(client, flow, text) for text in texts)


def _is_known(client: Client, flow: Flow, text: str) -> bool:
    try:
        named_key(client, flow, text) if _KEY.fullmatch(text) else _step(client, flow, text)
    except CorrectionError:
        return False
    return True


def _checked(client: Client, flow: Flow, decision: Decision, id: str, at: datetime) -> Correction:
    for name, text in (("user", decision.user), ("reason", decision.reason)):
        if not text.strip():
            raise CorrectionError(f"A correction needs a {name}: who reads it later must know.")
    other = named_key(client, flow, decision.other)
    step = None if _KEY.fullmatch(decision.one) else _step(client, flow, decision.one)
    key = _NO_KEY if step else named_key(client, flow, decision.one)
    if not step:
        key, other = _in_order(flow, key, other)
    trace_id, span_id = step or ("", "")
    drawn = Correction(
        id, flow.flow, decision.action, key, trace_id, span_id, other, "", decision.user, decision.reason, at
    )
    holds = next((one for one in standing(_said(client, flow)) if one.subject == drawn.subject), None)
    if decision.action is CorrectionAction.UNDO:
        if holds is None or holds.action is not decision.undoes:
            raise CorrectionError(f"No {decision.undoes} of {decision.one} and {decision.other} holds.")
        return replace(drawn, undoes=holds.id)
    if holds is not None and holds.action is decision.action:
        raise CorrectionError(
            f"{holds.user} said so before, at {holds.at:%Y-%m-%d %H:%M} UTC: {holds.reason} ({holds.id})"
        )
    return drawn


def _said(client: Client, flow: Flow) -> list[Correction]:
    return [one for one in fetch(client, named("select_corrections"), Correction) if one.flow == flow.flow]


def _in_order(flow: Flow, one: Key, other: Key) -> tuple[Key, Key]:
    """Return child and parent, or two keys of one type in their own order."""
    if one == other:
        raise CorrectionError(f"{one.type} {one.value} is named twice.")
    if one.type == other.type:
        return min(one, other), max(one, other)
    if other.type in flow.ancestors[one.type]:
        return one, other
    if one.type in flow.ancestors[other.type]:
        return other, one
    raise CorrectionError(
        f"In {flow.flow} neither of {one.type} and {other.type} stands above the other: they are no link."
    )


def _step(client: Client, flow: Flow, text: str) -> tuple[str, str]:
    if (match := _STEP.fullmatch(text)) is None:
        raise CorrectionError(
            f"{text!r} is neither a key (invoice:I-1) nor a step (TRACE/SPAN, as `trace --json` has them)."
        )
    trace_id, span_id = match.groups()
    query = named("select_step_exists", flow=flow.flow, trace_id=trace_id, span_id=span_id)
    if not fetch_records(client, query)[0]["found"]:
        raise CorrectionError(f"{flow.flow} has no step {text}.")
    return trace_id, span_id


def named_key(client: Client, flow: Flow, text: str) -> Key:
    """Return the key that *text* names, as steps carry it: with its scope when it is known with one."""
    match = _KEY.fullmatch(text)
    if match is None or match[1] not in flow.keys:
        raise CorrectionError(
            f"{text!r} is no key of {flow.flow}; write TYPE:VALUE or TYPE:VALUE@SCOPE, as invoice:I-1."
        )
    kind, rest = match.groups()
    if scopes := _scopes(client, flow, kind, rest):  # the value itself may hold an @
        issuers = sorted(scopes - {""})
        if len(issuers) > 1:
            several = ", ".join(f"{kind}:{rest}@{scope}" for scope in issuers)
            raise CorrectionError(f"{kind} {rest} is known in several scopes; name one: {several}.")
        return Key(kind, next(iter(issuers), ""), normalise(rest, flow.keys[kind]))
    value, _, scope = rest.rpartition("@")
    if not value or scope not in _scopes(client, flow, kind, value):
        raise CorrectionError(f"No step of {flow.flow} carries {text}.")
    return Key(kind, scope, normalise(value, flow.keys[kind]))


def _scopes(client: Client, flow: Flow, kind: str, value: str) -> set[str]:
    query = named("select_key_scopes", flow=flow.flow, type=kind, value=normalise(value, flow.keys[kind]))
    return {row["scope"] for row in fetch_records(client, query)}
