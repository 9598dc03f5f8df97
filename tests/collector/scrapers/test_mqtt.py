"""Copies of what topics of a real Mosquitto get: each once, acknowledged when it is safe, kept while nobody is there."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.scrapers.definition import TapSource
from controltower.collector.scrapers.errors import AddressError, QueueError
from controltower.collector.scrapers.kind import kind_of
from controltower.collector.scrapers.tap import TapReader
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.brokers import SPAN, TRACE, source_of, worker_of
from tests.collector.scrapers.streams import OwnMqtt, orders
from tests.collector.scrapers.test_worker import attributes_of, spans_of
from tests.conftest import many_open_files
from tests.processes import until
from tests.tracer.hooked import needs

needs("paho")
pytestmark = pytest.mark.usefixtures("low_descriptors")  # the client of the tests waits by select
ALWAYS: Answer = (200, {}, b"")
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture(scope="module")
def one_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMqtt]:
    """A broker."""
    with closing(OwnMqtt(tmp_path_factory.mktemp("mosquitto"))) as made:
        yield made


@pytest.fixture
def broker(one_broker: OwnMqtt, monkeypatch: pytest.MonkeyPatch) -> OwnMqtt:
    """A broker whose address the environment holds."""
    monkeypatch.setenv("MQTT_URL", one_broker.address)
    return one_broker


def tap_of(name: str, **options: Any) -> TapSource:
    """Return a source whose session is there already."""
    source = source_of("tap", f"tower-{name}", broker="mqtt", topics=[f"{name}/#"], **options)
    assert isinstance(source, TapSource)
    with closing(reader_of(source)) as reader:
        assert reader.read() == ([], True)
    return source


def reader_of(source: TapSource) -> TapReader:
    made = kind_of(source)(source, time.time_ns)
    assert isinstance(made, TapReader)
    return made


def kept(reader: TapReader) -> list[str]:
    """Return the orders of all that is there, each acknowledged."""
    found: list[str] = []
    caught_up = False
    while not caught_up:
        records, caught_up = reader.read()
        found += [reader.parse(record)["po"] for record in records]
        reader.acknowledged(reader.state())
    return found


def numbered(*numbers: int) -> list[str]:
    return [f"PO-{number}" for number in numbers]


def test_what_came_while_nobody_was_there(broker: OwnMqtt, tmp_path: Path) -> None:
    """All of it, in order, each once, in its sender's trace; also what is only then sent with QoS 0."""
    rule = {
        "when": {"message.routing_key": "a/orders"},
        "step": "p2p.purchase_order.dispatched",
        "keys": {"purchase_order": "$.po"},
        "trace": {"trace_id": "trace.id", "span_id": "trace.span"},
    }
    source = tap_of("a", rules=[rule])
    broker.put("a/orders", orders(*range(3_000)), HEADERS)
    broker.put("a/others", orders(1))
    with answering(lambda *_: ALWAYS) as server:
        for _ in range(2):
            worker = worker_of(tmp_path, source, server.url, time.time_ns)
            worker.run_once()

    spans = spans_of(server.bodies)
    assert [attributes_of(span)["controltower.key.purchase_order"] for span in spans] == numbered(*range(3_000))
    assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in spans} == {(TRACE, SPAN)}
    assert worker.health.records == 0


def test_more_files_are_open_than_select_knows(broker: OwnMqtt) -> None:
    """A scraper of many logs takes messages, too: paho's own loop would take the connection for broken."""
    source = tap_of("many")
    broker.put("many/orders", orders(1, 2))
    with many_open_files(), closing(reader_of(source)) as reader:
        assert kept(reader) == numbered(1, 2)


def test_what_was_saved_and_not_acknowledged_is_no_second_step(broker: OwnMqtt) -> None:
    """After a crash between the two the broker delivers it again, and it is known; without what was saved it is read."""
    source = tap_of("b")
    broker.put("b/orders", orders(1, 1, 2))
    first = reader_of(source)
    read = [first.parse(record)["po"] for record in first.read().records]
    while len(read) < 3:
        read += [first.parse(record)["po"] for record in first.read().records]
    saved = first.state()
    first.close()
    second = reader_of(source)
    assert len(second.read().records) == 3
    second.close()
    broker.put("b/orders", orders(2, 3))

    with closing(reader_of(source)) as third:
        third.restore(saved)
        assert until(lambda: kept(third), "they are there") == numbered(2, 3)
        saved = third.state()
    with closing(reader_of(source)) as fourth:  # which the broker may see before it reads the last acknowledgements
        fourth.restore(saved)
        assert kept(fourth) == []


def test_kill_9_of_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks is told; what the broker had on its disk comes after its restart, and once."""
    with closing(OwnMqtt(tmp_path)) as broker:
        monkeypatch.setenv("MQTT_URL", broker.address)
        source = tap_of("c")
        broker.put("c/orders", orders(*range(50)))
        with closing(reader_of(source)) as reader:
            some = [reader.parse(record)["po"] for record in reader.read().records]
            saved = reader.state()
            until(
                lambda: broker.kept.exists() and b"PO-49" in broker.kept.read_bytes(), "the broker saved its sessions"
            )
            broker.process.kill()
            with pytest.raises((QueueError, OSError)):
                read_on(reader)
        broker.process.start()
        broker.put("c/orders", orders(50))
        with closing(reader_of(source)) as reader:
            reader.restore(saved)
            some += until(lambda: kept(reader), "it comes")
            assert some + kept(reader) == numbered(*range(51))


def read_on(reader: TapReader) -> None:
    for _ in range(100):
        reader.read()


@pytest.mark.parametrize("address", ["http://127.0.0.1", "mqtt://"])
def test_an_address_that_is_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told what one looks like."""
    monkeypatch.setenv("MQTT_URL", address)
    source = source_of("tap", "tower", broker="mqtt", topics=["#"])
    assert isinstance(source, TapSource)

    with closing(reader_of(source)) as reader, pytest.raises(AddressError, match="mqtts://"):
        reader.read()
