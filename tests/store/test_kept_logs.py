"""An imported log that is kept whole: what an export gives back is what was imported, whatever a log of OCEL holds."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from controltower.collector.redaction.settings import read_redaction
from controltower.collector.scrapers.definition import load_map
from controltower.collector.scrapers.encoding import Request
from controltower.collector.scrapers.errors import SourcesError
from controltower.collector.scrapers.event_log import EventLogReader, of_file
from controltower.collector.scrapers.mapper import Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.store.client import Client
from controltower.store.loader import Segment, load_segment
from controltower.store.ocel.kept import AT_ONCE, PART_CHARACTERS, export_log, kept_logs
from controltower.store.ocel.staged import Event, Object, Related
from controltower.tracer.tokens import Tokeniser
from tests.samples import SAMPLES, needs_samples
from tests.store.ocel_logs import Log, content, content_of, logs, staging
from tests.store.otlp import record

pytest.importorskip("ijson", reason="event logs need controltower[import]")
from controltower.store.ocel.writing import write_json

NUMBERS = count()
# Shrinking over a database takes many minutes; the log that failed is printed as it was drawn.
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
NOT_NEW = [HealthCheck.function_scoped_fixture]  # names of logs are new in each example
RULES = """\
service: erp
keep_log: true
rules:
  - match: {type: '^[a-m]'}
    step: p2p.purchase_order.created
    keys: {purchase_order: id}
"""
Kept = Callable[[Path], tuple[str, Counter[str]]]


@pytest.fixture
def keep(store_client: Client, tmp_path: Path) -> Kept:
    """Return what imports a file by a map that keeps it whole, and returns the log's name and the import's totals."""

    def keep(file: Path) -> tuple[str, Counter[str]]:
        name, how = f"log{next(NUMBERS)}", tmp_path / "map.yaml"
        how.write_text(f"name: {name}\n{RULES}", encoding="utf-8")
        redaction = read_redaction({})
        source = of_file(load_map(how), file)
        mapper = Mapper(source, name, Policies(redaction.policy, Tokeniser(())), time.time_ns)
        request = Request("erp")
        with closing(EventLogReader(source, time.time_ns)) as reader:
            caught_up = False
            while not caught_up:
                records, caught_up = reader.read()
                mapped = mapper.map(records, reader)
                for step in (*mapped.steps, *mapped.kept):
                    request.add(step)
        segment = tmp_path / name
        segment.write_bytes(record(request.encoded(), time.time_ns()))
        load_segment(store_client, Segment(name, "traces", segment))
        return name, mapper.totals

    return keep


def given_back(client: Client, name: str) -> object:
    """Return all that the store gives back of a log."""
    with staging() as staged:
        export_log(client, name, staged)
        staged.whole()
        return content(staged)


@given(log=logs())
@settings(deadline=None, max_examples=8, phases=NO_SHRINKING, suppress_health_check=NOT_NEW)
def test_import_and_export_lose_nothing(log: Log, store_client: Client, keep: Kept, tmp_path: Path) -> None:
    """Import, export and import again: types, events, objects, values with their times, relations with their qualifiers."""
    first, second = (tmp_path / f"{next(NUMBERS)}.json" for _ in range(2))
    with staging() as staged:
        log.stage(staged)
        write_json(staged, first)
    name, totals = keep(first)
    with staging() as staged:
        export_log(store_client, name, staged)
        staged.whole()
        write_json(staged, second)

    assert content_of(second) == content_of(first)
    assert given_back(store_client, keep(second)[0]) == content_of(first)
    assert totals["records"] == len(log.events)


def test_long_ones_are_kept_in_parts(store_client: Client, keep: Kept, tmp_path: Path) -> None:
    """A text longer than a value may be, and an object with more changes than a span has room for, are whole again."""
    many = [("n", f"2026-01-{1 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00.000000+00:00", str(number)) for number in range(2 * AT_ONCE + 1)]  # fmt: skip
    text = "é" * (3 * PART_CHARACTERS + 1)
    log = Log(
        {"a": {"t": "string"}},
        {"o": {"n": "integer"}},
        (Object("o1", "o", many, [Related("o1", str(number)) for number in range(AT_ONCE + 1)]),),
        (Event("e1", "a", "2026-01-01T00:00:00.000000+00:00", {"t": text}, [Related("o1", "q")]),),
    )
    with staging() as staged:
        log.stage(staged)
        write_json(staged, tmp_path / "log.json")
    name, _ = keep(tmp_path / "log.json")

    assert given_back(store_client, name) == content_of(tmp_path / "log.json")
    assert name in kept_logs(store_client)


@needs_samples
def test_a_public_log_is_given_back(store_client: Client, keep: Kept) -> None:
    """The example of OCEL 2.0, with the events that no rule fits."""
    file = SAMPLES / "copyleft" / "pm4py-ocel" / "ocel20_example.jsonocel"
    name, totals = keep(file)

    assert totals["unmatched"] == 13
    assert given_back(store_client, name) == content_of(file)


def test_a_log_of_patients_is_not_kept(tmp_path: Path) -> None:
    """What no policy knows is not kept of a source that handles patients' data."""
    how = tmp_path / "map.yaml"
    how.write_text(f"name: a\nclass: phi\n{RULES}", encoding="utf-8")

    with pytest.raises(SourcesError, match="keep_log: keeps what no policy knows"):
        load_map(how)
