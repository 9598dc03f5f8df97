"""A power cut in the middle of load, over a real file system: every acknowledged span is in the store once (F3)."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.collector.requests import PROTOBUF, request_of, span
from tests.collector.test_kill import CLIENTS, SPANS, Sender
from tests.power import NoVolumeError, Volume, volume
from tests.processes import PATIENCE_S, Tower, tower, until

pytestmark = pytest.mark.slow

ROUNDS = 2
# Small segments and short waits, so that a cut finds them being written, loaded, kept and removed.
SETTINGS = {
    "CONTROLTOWER_COLLECTOR_SEGMENT_BYTES": "200000",
    "CONTROLTOWER_COLLECTOR_SEGMENT_AGE_S": "0.1",
}
LAST = 10**9  # the number of a span that nobody else sends


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Volume]:
    """A volume whose power can be cut; where there can be none, nothing is claimed of power cuts."""
    try:
        with volume(tmp_path) as made:
            yield made
    except NoVolumeError as exc:
        pytest.skip(f"no volume of its own for a power cut: {exc}")


def spans_of(running: Tower) -> dict[int, int]:
    """Return the number of each stored span, and how often it is there."""
    client = running.client()
    try:
        rows = client.query("SELECT SpanName, count() FROM otel_traces WHERE SpanName LIKE 'span %' GROUP BY SpanName")
        return {int(name.split()[-1]): count for name, count in rows.result_rows}
    finally:
        client.close()


def test_a_power_cut_costs_nothing_that_was_acknowledged(disk: Volume) -> None:
    """After cuts at any moment of journal and embedded engine: 0 acknowledged lost, none there twice, no repair."""
    randomness = random.Random(5)
    with tower(disk.folder / "data", environment=SETTINGS) as running:
        token = running.run("token", "create", "tests").strip()
        sender = Sender(token)
        for _ in range(ROUNDS):
            process = running.serve()
            disk.write_out()
            port = int(running.runtime.collector.rpartition(":")[2])
            clients = [threading.Thread(target=sender.send_until_gone, args=[port]) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            sender.wait_for(randomness.randrange(150, 400))
            disk.cut_power()
            running.kill(process)
            for client in clients:
                client.join(PATIENCE_S)
            disk.unmount()
            disk.mount()
        running.serve()
        headers = {"authorization": f"Bearer {token}", "content-type": PROTOBUF}
        last = httpx.post(f"{running.runtime.collector}/v1/traces", content=request_of(span(LAST)), headers=headers)
        assert last.status_code == 200
        # What is new is loaded when it was looked whether the engine has what it had been given.
        until(lambda: LAST in spans_of(running), "the last span is there")
        until(lambda: running.get("/readyz")["lag_s"] == 0, "everything is loaded")
        counts = spans_of(running)
        log = (running.data / "logs" / "serve.log").read_text(encoding="utf-8", errors="replace")

    expected = {first * SPANS + n for first in sender.acknowledged for n in range(SPANS)}
    assert sorted(expected - counts.keys()) == []
    assert "the store holds" in log  # the cuts did cost the engine something that was loaded
    assert {number: count for number, count in counts.items() if count > 1} == {}
