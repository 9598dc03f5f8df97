"""Whether the money of a remittance adds up: of each service, of each claim, of all of an 835, and of an 820."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Final

from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.segment_fields import Segment
from controltower.collector.scrapers.transforms import number

BALANCE: Final = "balance"
"""The field that says what adds up: ``ok``, or the innermost that does not: ``service``, ``claim``, ``transaction``."""

OK: Final = "ok"


def balance(segments: Sequence[Segment], part: str) -> Mapping[str, str]:
    """Return the field ``balance`` of a document that has one. Rejection for an amount that is no number.

    An 835: SVC02 - sum(CAS) = SVC03; CLP03 - sum(CAS) = CLP04, with those of its services; sum(CLP04) - sum(PLB) = BPR02.
    An 820: sum(RMR04) and the adjustments that stand by themselves = BPR02.
    """
    match next((segment[1].strip() for segment in segments if segment[0] == "ST" and len(segment) > 1), ""):
        case "835" if part:
            return {BALANCE: _claim(segments)}
        case "835":
            return {BALANCE: _remittance(segments)}
        case "820":
            return {BALANCE: _payment(segments)}
    return {}


def _claim(segments: Sequence[Segment]) -> str:
    (claim,) = _split(segments, "CLP")
    _, *services = _split(claim, "SVC", head=True)
    for service in services:
        if _amount(service[0], 2) - _adjusted(service) != _amount(service[0], 3):
            return "service"
    return OK if _amount(claim[0], 3) - _adjusted(claim) == _amount(claim[0], 4) else "claim"


def _remittance(segments: Sequence[Segment]) -> str:
    paid = sum((_amount(each, 4) for each in segments if each[0] == "CLP"), Decimal())
    provider = sum((_amount(each, at) for each in segments if each[0] == "PLB" for at in range(4, 15, 2)), Decimal())
    return OK if paid - provider == _total(segments) else "transaction"


def _payment(segments: Sequence[Segment]) -> str:
    paid = sum((_amount(each, 4) for each in segments if each[0] == "RMR"), Decimal())
    return OK if paid + sum(_alone(segments), Decimal()) == _total(segments) else "transaction"


def _alone(segments: Sequence[Segment]) -> Iterator[Decimal]:
    """Yield adjustments that belong to no invoice: RMR04 is behind its own ones already."""
    in_invoice = False
    for segment in segments:
        if segment[0] in ("RMR", "ENT"):
            in_invoice = segment[0] == "RMR"
        elif segment[0] == "ADX" and not in_invoice:
            yield _amount(segment, 1)


def _split(segments: Sequence[Segment], name: str, *, head: bool = False) -> list[list[Segment]]:
    starts = [at for at, segment in enumerate(segments) if segment[0] == name]
    ends = [*starts[1:], next((at for at, each in enumerate(segments) if each[0] in ("PLB", "SE")), len(segments))]
    loops = [list(segments[begin:end]) for begin, end in zip(starts, ends, strict=False)]
    return [list(segments[: starts[0] if starts else len(segments)]), *loops] if head else loops


def _adjusted(segments: Sequence[Segment]) -> Decimal:
    """Return the sum of all adjustments: a CAS has up to six, the amount of each three elements behind that of another."""
    return sum(
        chain.from_iterable((_amount(each, at) for at in range(3, 19, 3)) for each in segments if each[0] == "CAS"),
        Decimal(),
    )


def _total(segments: Sequence[Segment]) -> Decimal:
    return next((_amount(each, 2) for each in segments if each[0] == "BPR"), Decimal())


def _amount(segment: Segment, element: int) -> Decimal:
    text = segment[element].strip() if element < len(segment) else ""
    if not text:
        return Decimal()
    try:
        return number(text)
    except Rejection:
        raise Rejection("bad_amount", f"{segment[0]}{element:02d}") from None
