"""What pm4py makes of our exports: the same objects, events and relations, and the same answers. Skipped where it is missing."""

import csv
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controltower.store.client import Client
from controltower.store.ocel.staged import Staged
from tests.conftest import ManualClock
from tests.event_logs import MAP, write
from tests.samples import SAMPLES, needs_samples
from tests.store.flow_steps import P2P
from tests.store.test_export import exported

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pm4py = pytest.importorskip(
        "pm4py", reason="needs controltower[compare], which is under the AGPL and in no other extra"
    )
pytest.importorskip("ijson", reason="event logs need controltower[import]")
from bench.mining import by_pm4py, by_store, export_to, fill, read_by_pm4py
from controltower.store.ocel.reading import stage
from controltower.store.ocel.tables import objects_beside, write_csv
from controltower.store.ocel.writing import WRITERS

pytestmark = pytest.mark.filterwarnings("ignore")  # of pm4py and of what it needs
READERS: dict[str, Callable[[str], Any]] = {
    "json": pm4py.read_ocel2_json,
    "xml": pm4py.read_ocel2_xml,
    "sqlite": pm4py.read_ocel2_sqlite,
}
ENDINGS = {"json": "jsonocel", "xml": "xmlocel", "sqlite": "sqlite"}


def seen(log: Any) -> tuple[set[Any], ...]:
    """Return the events, objects, relations and relations between objects that pm4py finds."""
    relations = log.relations[["ocel:eid", "ocel:oid", "ocel:type", "ocel:activity", "ocel:qualifier"]]
    return (
        set(log.events[["ocel:eid", "ocel:activity"]].itertuples(index=False, name=None)),
        set(log.objects[["ocel:oid", "ocel:type"]].itertuples(index=False, name=None)),
        set(relations.itertuples(index=False, name=None)),
        set(log.o2o[["ocel:oid", "ocel:oid_2", "ocel:qualifier"]].itertuples(index=False, name=None)),
    )


def there(staged: Staged) -> tuple[set[Any], ...]:
    """Return the same of the tables."""
    events, objects = list(staged.each_event()), list(staged.each_object())
    types = {each.id: each.type for each in objects}
    return (
        {(each.id, each.type) for each in events},
        {(each.id, each.type) for each in objects},
        {
            (each.id, to.object_id, types[to.object_id], each.type, to.qualifier)
            for each in events
            for to in each.related
        },
        {(each.id, *to) for each in objects for to in each.related},
    )


@pytest.mark.parametrize("form", WRITERS)
def test_pm4py_finds_what_the_store_has(
    form: str, staged: Staged, store_client: Client, clock: ManualClock, tmp_path: Path
) -> None:
    """Events, objects, relations with their qualifiers, and relations between objects."""
    exported(store_client, clock, staged)
    file = tmp_path / f"log.{ENDINGS[form]}"
    WRITERS[form](staged, file)

    assert seen(READERS[form](str(file))) == there(staged)


@pytest.fixture
def staged(tmp_path: Path) -> Any:
    """Empty tables."""
    with closing(Staged(tmp_path / "staged.sqlite")) as made:
        yield made


@needs_samples
@pytest.mark.parametrize("form", WRITERS)
def test_pm4py_finds_in_an_export_what_it_finds_in_the_log(form: str, staged: Staged, tmp_path: Path) -> None:
    """A public log, read and written by us in any form, is to pm4py what it was."""
    log, file = SAMPLES / "copyleft" / "pm4py-ocel" / "ocel20_example.jsonocel", tmp_path / f"log.{ENDINGS[form]}"
    stage(log, staged)
    WRITERS[form](staged, file)

    assert seen(READERS[form](str(file))) == seen(pm4py.read_ocel2_json(str(log)))


def test_pm4py_reads_the_tables(staged: Staged, store_client: Client, clock: ManualClock, tmp_path: Path) -> None:
    """The table of events is OCEL as CSV, and the one beside it that of its objects."""
    exported(store_client, clock, staged)
    write_csv(staged, tmp_path / "log.csv")
    log = pm4py.read_ocel_csv(str(tmp_path / "log.csv"), objects_path=str(objects_beside(tmp_path / "log.csv")))
    events, objects, relations, _ = there(staged)

    assert set(log.events["ocel:eid"]) == {id_ for id_, _ in events}
    assert set(log.objects["ocel:oid"]) == {id_ for id_, _ in objects}
    assert len(log.relations) == len(relations)


def test_the_same_questions_have_the_same_answers(store_client: Client, tmp_path: Path) -> None:
    """Events of each document, throughput times and variants of a dirty log: pm4py over the export says what the store says."""
    log, how = tmp_path / "log.csv", tmp_path / "map.yaml"
    write(log, 60)
    how.write_text(MAP, encoding="utf-8")
    with log.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) > 240
    fill(store_client, P2P, log, how, tmp_path)
    export_to(store_client, P2P, tmp_path / "log.json", tmp_path)
    ours = by_store(store_client, P2P.flow, "purchase_order")

    assert by_pm4py(read_by_pm4py(tmp_path / "log.json"), "purchase_order") == ours
    assert len(ours.variants) > 2
