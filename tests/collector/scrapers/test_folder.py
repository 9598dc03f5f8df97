"""Folders of documents: each file when it is whole, each document once, and no file in another's way."""

import json
import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.settings import Redaction
from controltower.collector.scrapers import folder as folder_module
from controltower.collector.scrapers.definition import FolderSource, parse_sources
from controltower.collector.scrapers.delivery import Collector
from controltower.collector.scrapers.errors import SourcesError
from controltower.collector.scrapers.folder import FolderReader
from controltower.collector.scrapers.observation import Record
from controltower.collector.scrapers.scraper import Scraper
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.x12_writer import encoded, interchange, order

OK: Answer = (200, {}, b"")
NOW_NS = time.time_ns()
OLD_NS = NOW_NS - 60 * 10**9
Json = dict[str, Any]


def text_of(folder: Path, **options: Any) -> str:
    given: Json = {
        "kind": "folder",
        "format": "x12",
        "files": [str(folder / "*")],
        "rules": [
            {
                "when": {"ST01": "850"},
                "step": "p2p.purchase_order.dispatched",
                "keys": {"purchase_order": "BEG03"},
                "lines": {"each": "PO1", "quantity": "PO102", "unit_price": "PO104"},
            }
        ],
        **options,
    }
    return json.dumps({"sources": {"edi": given}})  # JSON is YAML


def source_of(folder: Path, **options: Any) -> FolderSource:
    source = parse_sources(text_of(folder, **options), "edi.yaml").sources["edi"]
    assert isinstance(source, FolderSource)
    return source


def hasty() -> Callable[[], float]:
    """Return a monotonic clock on which ten seconds pass from one question to the next: what is seen is quiet."""
    return count(0.0, 10.0).__next__


def reader_of(folder: Path, **options: Any) -> FolderReader:
    return FolderReader(source_of(folder, **options), lambda: NOW_NS, hasty())


def write(path: Path, *numbers: str, control: int = 1, changed_ns: int = OLD_NS) -> bytes:
    """Write orders into a file, an interchange."""
    content = encoded(interchange([[order(number) for number in numbers]], number=control))
    path.write_bytes(content)
    os.utime(path, ns=(changed_ns, changed_ns))
    return content


def orders(reader: FolderReader, records: list[Record]) -> list[str]:
    return [record.flaw or reader.parse(record)["BEG03"] for record in records]


@pytest.mark.parametrize("ahead_s", [-3_000, 0, 3_000])
def test_a_file_is_read_when_it_does_not_change_any_more(tmp_path: Path, ahead_s: int) -> None:
    """Not before, and once, however far its machine's clock is from ours."""
    passed_s = [0.0]
    reader = FolderReader(source_of(tmp_path), lambda: NOW_NS, lambda: passed_s[0])
    assert reader.read() == ([], True)
    at_ns = NOW_NS + ahead_s * 10**9
    content = write(tmp_path / "a.edi", "PO-1", "PO-2", changed_ns=at_ns)
    (tmp_path / "a.edi").write_bytes(content[:100])
    os.utime(tmp_path / "a.edi", ns=(at_ns, at_ns))
    assert reader.read() == ([], True)
    passed_s[0] += 4
    (tmp_path / "a.edi").write_bytes(content)
    os.utime(tmp_path / "a.edi", ns=(at_ns, at_ns))
    assert reader.read() == ([], True)
    passed_s[0] += 4
    assert reader.read() == ([], True)
    assert reader.behind() > 0

    passed_s[0] += 2
    assert orders(reader, reader.read().records) == ["PO-1", "PO-2"]
    assert reader.read() == ([], True)
    assert reader.behind() == 0


def test_what_is_there_at_the_start_is_known_by_its_time(tmp_path: Path) -> None:
    """What was written long ago is read at once; what was written just now is watched first."""
    passed_s = [0.0]
    write(tmp_path / "old.edi", "PO-1")
    write(tmp_path / "new.edi", "PO-2", control=2, changed_ns=NOW_NS)
    reader = FolderReader(source_of(tmp_path), lambda: NOW_NS, lambda: passed_s[0])
    assert orders(reader, reader.read().records) == ["PO-1"]

    passed_s[0] += 6
    assert orders(reader, reader.read().records) == ["PO-2"]


def test_another_file_can_say_that_one_is_whole(tmp_path: Path) -> None:
    """With a trigger the time of a file does not matter, and the trigger is no document."""
    write(tmp_path / "a.edi", "PO-1", changed_ns=OLD_NS)
    reader = reader_of(tmp_path, trigger=".done")
    assert reader.read() == ([], True)

    (tmp_path / "a.edi.done").touch()
    assert orders(reader, reader.read().records) == ["PO-1"]


def test_a_defective_file_stops_no_other(tmp_path: Path) -> None:
    """It is told with its name and the reason, and those beside it are read."""
    write(tmp_path / "a.edi", "PO-1")
    content = write(tmp_path / "b.edi", "PO-2", control=2)
    (tmp_path / "b.edi").write_bytes(content[:-20])
    os.utime(tmp_path / "b.edi", ns=(OLD_NS + 1, OLD_NS + 1))
    write(tmp_path / "c.edi", "PO-3", control=3, changed_ns=OLD_NS + 2)
    reader = reader_of(tmp_path)

    records = reader.read().records
    assert orders(reader, records) == ["PO-1", "missing: IEA", "PO-3"]
    assert records[1].place.startswith(str(tmp_path / "b.edi"))


def test_a_batch_ends_within_a_file_and_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in another process, from what was saved."""
    monkeypatch.setattr(folder_module, "MOST_RECORDS", 2)
    write(tmp_path / "a.edi", "PO-1", "PO-2", "PO-3", "PO-4", "PO-5")
    reader = reader_of(tmp_path)
    assert orders(reader, reader.read().records) == ["PO-1", "PO-2"]
    saved = json.loads(json.dumps(reader.state()))

    other = reader_of(tmp_path)
    other.restore(saved)
    records, caught_up = other.read()
    assert (orders(other, records), caught_up) == (["PO-3", "PO-4"], False)
    records, caught_up = other.read()
    assert (orders(other, records), caught_up) == (["PO-5"], True)


def test_the_same_content_under_another_name_is_the_same(tmp_path: Path) -> None:
    """It is refused as a duplicate; a source that wants it read gets the records it had, of which ids are made."""
    write(tmp_path / "a.edi", "PO-1", "PO-2")
    reader = reader_of(tmp_path)
    first = reader.read().records
    (tmp_path / "copy.edi").write_bytes((tmp_path / "a.edi").read_bytes())
    os.utime(tmp_path / "copy.edi", ns=(OLD_NS, OLD_NS))

    (duplicate,) = reader.read().records
    assert duplicate.flaw == "duplicate: a file with this content was read"
    assert reader_of(tmp_path, duplicates="read").read().records == [*first, *first]


def test_what_is_there_can_be_passed_over(tmp_path: Path) -> None:
    """With ``begin: end`` only what comes later is read."""
    write(tmp_path / "a.edi", "PO-1")
    reader = reader_of(tmp_path, begin="end")
    assert reader.read() == ([], True)

    write(tmp_path / "b.edi", "PO-2", control=2)
    assert orders(reader, reader.read().records) == ["PO-2"]


def test_documents_become_steps_once(tmp_path: Path) -> None:
    """Through all of the scraper: sent, saved, and not sent again; what is refused is in the file of rejects."""
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.edi", "PO-1", "PO-2")
    (folder / "bad.edi").write_bytes(b"no interchange")
    os.utime(folder / "bad.edi", ns=(OLD_NS, OLD_NS))
    file = tmp_path / "sources.yaml"
    file.write_text(text_of(folder), encoding="utf-8")
    with answering(lambda *_: OK) as server:

        def run(url: str) -> None:
            scraper = Scraper(file, tmp_path / "scrape", Collector(url), Redaction(default_policy()))
            scraper.run_once()
            scraper.close()

        run(server.url)
        run(server.url)
        traces = [body for body, path in zip(server.bodies, server.paths, strict=True) if path == "/v1/traces"]

    assert sum(body.count(b"PO-1") for body in traces) == 1
    assert sum(body.count(b"125.00") for body in traces) == 2
    (reject,) = (tmp_path / "scrape" / "edi" / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(reject)["reason"] == "no_interchange"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"keys": {"purchase_order": "po"}}, "po is no path"),
        ({"keys": {"purchase_order": "PO1"}}, "PO1 is lines"),
        ({"keys": {"purchase_order": "$.po"}}, "JSONPath is for"),
        ({"keys": {"purchase_order": "BEG03"}, "lines": {"each": "PO101"}}, "no path of segments"),
        ({"keys": {"purchase_order": "BEG03"}, "lines": {"each": "$.lines"}}, "no path of segments"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, rule: Json, words: str) -> None:
    """When the file is read, not at the first document."""
    with pytest.raises(SourcesError, match=words.replace("$", r"\$")):
        source_of(tmp_path, rules=[{"step": "p2p.purchase_order.dispatched", **rule}])
