"""The JSON of ``controltower paths``. Times in seconds, money as decimal strings. Pure."""

from collections.abc import Sequence
from dataclasses import asdict

from controltower.cli.shapes import Json, key_of, money_of, time_of
from controltower.store.read import Money, Paths
from controltower.store.reads.paths import DoubleEffect, Variant


def paths_of(found: Paths) -> Json:
    """Return the paths of one flow."""
    return {
        "flow": found.flow,
        "variants": [_variant(one) for one in found.variants],
        "stages": [asdict(one) for one in found.passages],
        "ways": [asdict(one) for one in found.ways],
        "hops": [asdict(one) for one in found.hops],
        "work": [asdict(one) for one in found.work],
        "double_effects": [_effect(one) for one in found.double_effects],
    }


def _variant(one: Variant) -> Json:
    return {
        "stages": list(one.stages),
        "transactions": one.transactions,
        "completed": one.completed,
        "seconds_p50": one.seconds_p50,
        "amounts": _moneys(one.amounts),
        "slowest": key_of(one.slowest),
    }


def _effect(one: DoubleEffect) -> Json:
    return {
        "idempotency_key": one.idempotency_key,
        "step": one.step,
        "system": one.system,
        "effects": one.effects,
        "first_at": time_of(one.first_at),
        "last_at": time_of(one.last_at),
        "amounts": _moneys(one.amounts),
        "spans": [{"trace_id": trace_id, "span_id": span_id} for trace_id, span_id in one.spans],
    }


def _moneys(amounts: Sequence[Money]) -> Json:
    return [{"amount": money_of(one.amount), "currency": one.currency} for one in amounts]
