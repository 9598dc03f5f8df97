"""A million names of services and of attributes: the store stays within its memory, and reads answer (F32)."""

from itertools import count
from pathlib import Path

import pytest

from controltower.cli import checks
from controltower.cli.settings import Settings
from controltower.collector.memory import resident_bytes
from controltower.collector.redaction.loading import load_rules
from controltower.collector.redaction.policy import default_policy
from controltower.store import read
from controltower.store.address import StoreAddress
from controltower.store.client import Client
from controltower.store.redacting import apply_redaction
from tests.cli.conftest import text_of
from tests.store.otlp import Loading, record, request, span

pytestmark = pytest.mark.slow

NAMES = 1_000_000
IN_A_REQUEST = 100_000
MOST_GROWTH = 256 * 1024**2  # bytes of resident memory, from the second request to the last


def made_up(first: int) -> bytes:
    """Return a request whose spans have each a service and an attribute that nobody else has."""
    number, trace, own = b"0000000", b"T" * 16, b"S" * 8
    like = span(0, {"key.0000000": "x"}, trace_id=trace, span_id=own, name="span 0000000")
    one = request(like, resource={"service.name": "made-up-0000000"}).SerializeToString()  # requests join to one
    return b"".join(
        one.replace(number, b"%07d" % at).replace(trace, at.to_bytes(16, "big")).replace(own, at.to_bytes(8, "big"))
        for at in range(first, first + IN_A_REQUEST)
    )


def test_a_million_names_cost_neither_memory_nor_answers(
    store_client: Client, store_address: StoreAddress, tmp_path: Path
) -> None:
    """The known system is still told apart, the others are counted as one, `doctor` warns, and search answers."""
    loading = Loading(store_client, tmp_path, count(1))
    apply_redaction(loading.client, load_rules(default_policy()))
    key = "controltower.key.purchase_order"
    loading.load(request(span(1, {key: "PO-1"}), span(2), span(3)))
    memory = []
    for first in range(10, NAMES + 10, IN_A_REQUEST):
        loading.put("traces", record(made_up(first)))
        memory.append(resident_bytes())

    systems = {one.system: one for one in read.freshness(loading.client)}
    warned = checks.names(Settings(tmp_path, text_of(store_address)), None)

    assert loading.count("otel_traces") == NAMES + 3
    assert max(memory) - memory[1] < MOST_GROWTH
    assert len(systems) == read.SYSTEMS_LIMIT + 1
    assert (systems["erp"].spans, systems["erp"].systems) == (3, 1)
    others = systems[read.OVERFLOW]
    assert others.systems == others.spans == NAMES + 1 - read.SYSTEMS_LIMIT
    assert warned.status is checks.Status.WARN
    assert "1,000,001 systems" in warned.detail
    assert [one.system for one in read.spans_with_key(loading.client, "PO-1")] == ["erp"]
    assert read.facets(loading.client) == read.Facets((), (), ())
