"""Event logs of other systems: the same events in every format are the same steps, and what is bad is told apart."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.redaction.settings import read_redaction
from controltower.collector.scrapers.definition import load_map
from controltower.collector.scrapers.errors import EventLogError
from controltower.collector.scrapers.event_log import EventLogReader, of_file
from controltower.collector.scrapers.mapper import Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.observation import Step
from controltower.store.ocel.errors import OcelError
from controltower.tracer.tokens import Tokeniser
from tests.samples import SAMPLES, needs_samples

pytest.importorskip("ijson", reason="event logs need controltower[import]")
MAPS = Path(__file__).parents[3] / "docs" / "examples" / "maps"
OCEL = SAMPLES / "copyleft" / "pm4py-ocel"
EVENTS = [("e1", "create", "2026-01-02T03:04:05Z", ["PO-1"]), ("e2", "pay", "2026-01-03T03:04:05Z", ["PO-1", "PO-2"])]
TABLE = """
name: t
{more}
rules:
  - match: {{'{what}': '^(?P<found>create|pay)$'}}
    step: p2p.purchase_order.created
    keys: {{purchase_order: '{order}'}}
    context: {{activity: found}}
"""


def steps_of(how: Path, file: Path) -> tuple[list[Step], dict[str, int]]:
    """Return the steps of a file, and the totals."""
    redaction = read_redaction({})
    source = of_file(load_map(how), file)
    mapper = Mapper(source, source.name, Policies(redaction.policy, Tokeniser(())), time.time_ns)
    reader = EventLogReader(source, time.time_ns)
    steps: list[Step] = []
    caught_up = False
    with closing(reader):
        while not caught_up:
            records, caught_up = reader.read()
            steps += mapper.map(records, reader).steps
    return steps, dict(mapper.totals)


def told(steps: list[Step]) -> list[tuple[str, int, Any]]:
    """Return what steps say, without their ids."""
    names = ("controltower.key.purchase_order", "controltower.context.activity")
    return sorted((step.code, step.at_ns, tuple(step.attributes.get(name) for name in names)) for step in steps)


def written(folder: Path, form: str) -> tuple[Path, dict[str, str]]:
    """Write EVENTS in a format, and return the file and what its map says."""
    file = folder / f"log.{form}"
    plain = {"what": "what", "order": "po", "more": "time: at"}
    match form:
        case "csv":
            rows = [f'{id_},{what},{at},"{orders}"' for id_, what, at, orders in EVENTS]
            file.write_text("\n".join(["id,what,at,po", *rows]), encoding="utf-8-sig")
            return file, plain | {"more": "time: at\nlists: [po]\nid: id"}
        case "parquet":
            import pyarrow  # type: ignore[import-untyped]  # published without types
            from pyarrow import parquet

            names = ("id", "what", "at", "po")
            parquet.write_table(
                pyarrow.table(dict(zip(names, map(list, zip(*EVENTS, strict=True)), strict=True))), file
            )
            return file, plain
        case "xes":
            traces = "".join(
                f"<trace><string key='concept:name' value='{order}'/><event><string key='concept:name' value='{what}'/>"
                f"<date key='time:timestamp' value='{at}'/></event></trace>"
                for _, what, at, orders in EVENTS
                for order in orders
            )
            file.write_text(f"<log xmlns='http://www.xes-standard.org/'>{traces}</log>", encoding="utf-8")
            return file, {"what": "concept:name", "order": "case:concept:name", "more": ""}
        case "jsonocel":
            file.write_text(json.dumps(ocel()), encoding="utf-8")
        case _:
            objects = "".join(f"<object id='{each}' type='order'><attributes/></object>" for each in ("PO-1", "PO-2"))
            events = "".join(
                f"<event id='{id_}' type='{what}' time='{at}'><attributes/><objects>"
                + "".join(f"<relationship object-id='{each}' qualifier='q'/>" for each in orders)
                + "</objects></event>"
                for id_, what, at, orders in EVENTS
            )
            file.write_text(f"<log><events>{events}</events><objects>{objects}</objects></log>", encoding="utf-8")
    return file, {"what": "type", "order": "object:order", "more": ""}


def ocel() -> dict[str, Any]:
    """Return EVENTS as OCEL 2.0."""
    related = [(*each[:3], [{"objectId": order, "qualifier": "q"} for order in each[3]]) for each in EVENTS]
    events = [{"id": i, "type": w, "time": t, "attributes": [], "relationships": r} for i, w, t, r in related]
    return {"events": events, "objects": [{"id": each, "type": "order"} for each in ("PO-1", "PO-2")]}


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonocel", "xmlocel"])
def test_every_format_says_the_same(form: str, tmp_path: Path) -> None:
    """Times, texts and lists are those of the event, whatever the file."""
    file, says = written(tmp_path, form)
    how = tmp_path / "map.yaml"
    how.write_text(TABLE.format(**says), encoding="utf-8")

    steps, totals = steps_of(how, file)

    assert told(steps) == [
        ("p2p.purchase_order.created", 1767323045 * 10**9, ("PO-1", "create")),
        ("p2p.purchase_order.created", 1767409445 * 10**9, (("PO-1", "PO-2"), "pay")),
    ]
    assert totals == {"records": 2, "steps": 2, "unmatched": 0}


def test_xes_has_cases(tmp_path: Path) -> None:
    """The attributes of a case are those of its events, and of no other's."""
    file, says = written(tmp_path, "xes")
    how = tmp_path / "map.yaml"
    how.write_text(TABLE.format(**says), encoding="utf-8")

    assert [each[2] for each in told(steps_of(how, file)[0])] == [("PO-1", "create"), ("PO-1", "pay"), ("PO-2", "pay")]


def test_what_a_log_of_ocel_refers_to_must_be_there(tmp_path: Path) -> None:
    """An event with an object that is not there, or an id that was there before, is rejected; the others are not."""
    log = ocel()
    log["events"].append(log["events"][0])
    log["events"].append({**log["events"][0], "id": "e3", "relationships": [{"objectId": "PO-9", "qualifier": ""}]})
    file, how = tmp_path / "log.jsonocel", tmp_path / "map.yaml"
    file.write_text(json.dumps(log), encoding="utf-8")
    how.write_text(TABLE.format(what="type", order="object:order", more=""), encoding="utf-8")

    totals = steps_of(how, file)[1]

    assert totals["rejected dangling_reference"] == totals["rejected repeated_id"] == 1
    assert totals["steps"] == 2


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", '{"events": [{"id"'), ("a.xml", "<log><events>"), ("b.json", "{}")]
)
def test_a_damaged_file_is_told(name: str, text: str, tmp_path: Path) -> None:
    """A file that ends too soon or holds no event is refused by its name."""
    file, how = tmp_path / name, tmp_path / "map.yaml"
    file.write_text(text, encoding="utf-8")
    how.write_text(TABLE.format(what="type", order="object:order", more=""), encoding="utf-8")

    with pytest.raises(OcelError, match=name):
        steps_of(how, file)


def test_a_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A misspelt column is a mistake, and not a value that is missing in every row."""
    file, says = written(tmp_path, "csv")
    how = tmp_path / "map.yaml"
    how.write_text(TABLE.format(**says | {"order": "order"}), encoding="utf-8")

    with pytest.raises(EventLogError, match="has no column order"):
        steps_of(how, file)


@needs_samples
@pytest.mark.parametrize("ending", ["jsonocel", "xmlocel", "sqlite"])
def test_the_sample_of_ocel_2(ending: str) -> None:
    """13 events, and the quantity of an order is the one it had at the time."""
    steps, totals = steps_of(MAPS / "ocel20_p2p.yaml", OCEL / f"ocel20_example.{ending}")
    quantities = [
        step.attributes["controltower.quantity"]
        for step in sorted(steps, key=lambda step: step.at_ns)
        if "purchase_order." in step.code
    ]

    assert totals == {"records": 13, "steps": 13, "unmatched": 0}
    assert quantities == ["500", "600", "1"]


@needs_samples
def test_the_sample_of_procure_to_pay() -> None:
    """720 events of nine activities, each 80 times."""
    steps, totals = steps_of(MAPS / "ocpa_p2p.yaml", SAMPLES / "copyleft" / "ocpa-p2p" / "p2p-normal.jsonocel")

    assert totals == {"records": 720, "steps": 720, "unmatched": 0}
    assert len({step.ids for step in steps}) == 720


def test_sqlite_is_what_it_says(tmp_path: Path) -> None:
    """A database that is no log of OCEL is refused."""
    file, how = tmp_path / "a.sqlite", tmp_path / "map.yaml"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("CREATE TABLE a (b)")
    how.write_text(TABLE.format(what="type", order="object:order", more=""), encoding="utf-8")

    with pytest.raises(OcelError, match="no whole log"):
        steps_of(how, file)
