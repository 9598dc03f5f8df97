"""What several exceptions have in common: one alert for all of them instead of one for each; pure.

Exceptions of one topic that open within ``WITHIN`` of each other are a burst. Where a burst is large enough, its cause is the
narrowest thing that nearly all of it share: a batch, a counterparty, a system; else each system that enough of it share. A
member keeps its cause, and a cause is over with the last of its members.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Final, NamedTuple

from controltower.alerts.decide import NOTHING, Decision, Policy, Reason, decide
from controltower.alerts.evaluate import dedup_key
from controltower.alerts.rules import severity_rank
from controltower.store.alert_rows import Alert, AlertState, Tally
from controltower.store.rows import SEVERITIES, ExceptionRow, Key

KIND: Final = "cause"
KINDS: Final = frozenset({"deadline", "match", "rejected", "failed"})  # of exceptions that can have one with others
SHARED: Final = ("batch", "counterparty", "system")  # the narrowest first
WITHIN: Final = timedelta(hours=1)
NEARLY_ALL: Final = 0.8
CURRENCIES_TOLD: Final = 3
_WHAT: Final = {  # of one, and of several
    "deadline": ("is late for", "are late for"),
    "match": ("does not add up in", "do not add up in"),
    "rejected": ("was rejected in", "were rejected in"),
    "failed": ("failed in", "failed in"),
}


class Topic(NamedTuple):
    """What exceptions must agree in to have one cause."""

    flow: str
    kind: str
    rule: str
    reason: str


def topic(alert: Alert) -> Topic:
    """Return the topic of an alert about an exception, or about the cause of several."""
    kind = alert.subject.partition(" ")[0] if alert.kind == KIND else alert.kind
    return Topic(alert.flow, kind, alert.rule, alert.reason)


def beginning(decisions: Iterable[Decision]) -> list[Alert]:
    """Return the alerts that begin with these *decisions* and may have a cause with others."""
    return [
        decision.alert
        for decision in decisions
        if decision.reason is Reason.FIRST and decision.alert is not None and decision.alert.kind in KINDS
    ]


def shared(
    decisions: Sequence[Decision], causes: Sequence[Alert], alone: Sequence[Alert], policy: Policy, version: int
) -> list[Decision]:
    """Return the *decisions*, but what begins with a cause is not told, and its cause is.

    *causes* are the open ones, *alone* are open alerts that have none, both as far as they are of the same topics.
    """
    new = {alert.dedup_key: alert for alert in beginning(decisions)}
    told_by = _joined(new.values(), causes)
    rest = [alert for key, alert in new.items() if key not in told_by]
    begun: list[Decision] = []
    for burst in _bursts([*rest, *alone]):
        for key, members in _common(burst, policy.least):
            if fresh := [alert for alert in members if alert.dedup_key in new]:
                row = _row(key, fresh, members, version)
                begun.append(_counted(decide(None, row, policy), tally(members)))
                told_by |= {alert.dedup_key: dedup_key(row) for alert in members}
    adopted = (
        Decision(Reason.NONE, replace(alert, cause=told_by[alert.dedup_key], version=alert.version + 1))
        for alert in alone
        if alert.dedup_key in told_by
    )
    return [*(_untold(decision, told_by) for decision in decisions), *adopted, *begun]


def follow(cause: Alert, now: Tally, policy: Policy, version: int) -> Decision:
    """Return what becomes of a *cause* whose members are what they are *now*. Once it is over it stays so."""
    if cause.state is not AlertState.FIRING:
        return NOTHING
    row = ExceptionRow(
        flow=cause.flow,
        anchor=cause.anchor,
        kind=KIND,
        rule=cause.rule,
        subject=cause.subject,
        reason=cause.reason,
        severity=max(cause.severity, now.severity, key=severity_rank),
        opened_at=cause.opened_at,
        resolved_at=None if now.open else now.last_resolved_at,
        amount=cause.amount,
        currency=cause.currency,
        detail=cause.detail,
        is_deleted=not now.open and now.last_resolved_at is None,
        version=max(version, cause.exception_version),
    )
    if now.open:
        amount, currency = _largest(now)
        row = replace(row, amount=amount, currency=currency, detail=_words(topic(cause), cause.anchor, now))
    return _counted(decide(cause, row, policy), now)


def tally(members: Sequence[Alert]) -> Tally:
    """Return what open *members* come to: the amount of a transaction counts once, lines that do not match add up."""
    per_anchor: dict[tuple[Key, str], Decimal] = {}
    for alert in members:
        before = per_anchor.get((alert.anchor, alert.currency), Decimal(0))
        amount = before + alert.amount if alert.kind == "match" else max(before, alert.amount)
        per_anchor[alert.anchor, alert.currency] = amount
    amounts: dict[str, Decimal] = {}
    for (_, currency), amount in per_anchor.items():
        amounts[currency] = amounts.get(currency, Decimal(0)) + amount
    return Tally(
        cause="",
        open=len({alert.anchor for alert in members}),
        severity=max((alert.severity for alert in members), key=severity_rank, default=SEVERITIES[0]),
        amounts=amounts,
        first_opened_at=min(alert.opened_at for alert in members),
        last_opened_at=max(alert.opened_at for alert in members),
        last_resolved_at=None,
    )


def _joined(new: Iterable[Alert], causes: Iterable[Alert]) -> dict[str, str]:
    """Return alert -> the open cause that it belongs to: it opens while that one grows, and makes it grow on."""
    grows = {cause.dedup_key: cause.grows_until or cause.opened_at for cause in causes}
    narrowest = sorted(causes, key=lambda cause: (SHARED.index(cause.anchor.type), cause.opened_at, cause.dedup_key))
    joined: dict[str, str] = {}
    for alert in sorted(new, key=_by_time):
        for cause in narrowest:
            same = topic(cause) == topic(alert) and getattr(alert, cause.anchor.type) == cause.anchor.value
            if same and cause.opened_at - WITHIN <= alert.opened_at <= grows[cause.dedup_key]:
                joined[alert.dedup_key] = cause.dedup_key
                grows[cause.dedup_key] = max(grows[cause.dedup_key], alert.opened_at + WITHIN)
                break
    return joined


def _bursts(alerts: Iterable[Alert]) -> Iterator[list[Alert]]:
    """Yield alerts of one topic that open within ``WITHIN`` of each other."""
    by_topic: dict[Topic, list[Alert]] = defaultdict(list)
    for alert in sorted(alerts, key=_by_time):
        known = by_topic[topic(alert)]
        if known and alert.opened_at - known[-1].opened_at > WITHIN:
            yield list(known)
            known.clear()
        known.append(alert)
    yield from by_topic.values()


def _common(burst: Sequence[Alert], least: int) -> Iterator[tuple[Key, list[Alert]]]:
    """Yield what members of a burst share, and those that do; what is empty is nothing to share."""
    enough = max(least, NEARLY_ALL * len(burst))
    for name in SHARED:
        (value, count), *_ = Counter(map(attrgetter(name), burst)).most_common(1)
        if value and count >= enough:
            yield Key(name, "", value), [alert for alert in burst if getattr(alert, name) == value]
            return
    for system, count in sorted(Counter(alert.system for alert in burst).items()):
        if system and count >= least:
            yield Key("system", "", system), [alert for alert in burst if alert.system == system]


def _row(key: Key, fresh: Sequence[Alert], members: Sequence[Alert], version: int) -> ExceptionRow:
    """Return the cause as an exception of its own, named after what is shared and when it began."""
    about, now = topic(fresh[0]), tally(members)
    amount, currency = _largest(now)
    opened_at = min(alert.opened_at for alert in fresh)  # of an older one people were told already
    return ExceptionRow(
        flow=about.flow,
        anchor=key,
        kind=KIND,
        rule=about.rule,
        subject=f"{about.kind} {opened_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        reason=about.reason,
        severity=now.severity,
        opened_at=opened_at,
        resolved_at=None,
        amount=amount,
        currency=currency,
        detail=_words(about, key, now),
        version=version,
    )


def _untold(decision: Decision, told_by: dict[str, str]) -> Decision:
    """Return a decision to tell of something as one to leave that to its cause."""
    alert = decision.alert
    if decision.reason is not Reason.FIRST or alert is None or alert.dedup_key not in told_by:
        return decision
    told = alert.announced
    silent = replace(
        alert,
        decision=Reason.SHARED.value,
        cause=told_by[alert.dedup_key],
        sequence=alert.sequence - told,
        announced=False,
        announced_severity="",
        notification_id="",
    )
    return Decision(Reason.SHARED, silent)


def _counted(decision: Decision, now: Tally) -> Decision:
    if decision.alert is None:
        return decision
    grows_until = now.last_opened_at + WITHIN if now.open else None
    return replace(decision, alert=replace(decision.alert, members=now.open, grows_until=grows_until))


def _largest(now: Tally) -> tuple[Decimal, str]:
    """Return the largest amount with its currency: sums of two currencies are not added."""
    return max(((amount, currency) for currency, amount in now.amounts.items()), default=(Decimal(0), ""))


def _words(about: Topic, key: Key, now: Tally) -> str:
    """Return one sentence: how many, what they share, what is wrong, the money and since when."""
    several = now.open != 1
    many = f"{now.open:,} transaction{'s' if several else ''}"
    where = {"batch": "of batch", "counterparty": "with", "system": "after" if about.kind == "deadline" else "at"}[
        key.type
    ]
    amounts = sorted(now.amounts.items(), key=lambda pair: (-pair[1], pair[0]))
    money = " and ".join(f"{amount:,.2f} {name}".rstrip() for name, amount in amounts[:CURRENCIES_TOLD] if amount)
    stake = f", {money} at stake" if money else ""
    since = f"{now.first_opened_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"{many} {where} {key.value} {_WHAT[about.kind][several]} {about.rule.replace('_', ' ')}{stake}, since {since}."
    )


def _by_time(alert: Alert) -> tuple[object, str]:
    return alert.opened_at, alert.dedup_key
