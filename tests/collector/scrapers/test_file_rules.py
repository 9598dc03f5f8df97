"""What is said of files: whole when a manifest says so, duplicates, put away when acknowledged, and a run of each."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.settings import Redaction
from controltower.collector.scrapers.definition import FolderSource, parse_sources
from controltower.collector.scrapers.delivery import Collector
from controltower.collector.scrapers.errors import SourcesError
from controltower.collector.scrapers.folder import FolderReader
from controltower.collector.scrapers.mapper import Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.observation import Step
from controltower.collector.scrapers.scraper import Scraper
from controltower.tracer import attributes
from controltower.tracer.tokens import Tokeniser
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.test_folder import NOW_NS, OLD_NS, hasty, orders, text_of, write

Json = dict[str, Any]
OK: Answer = (200, {}, b"")
RUN: Json = {
    "when": {"part": "file"},
    "step": "batch.file.received",
    "style": "file",
    "keys": {"file": {"text": "ACME|{name}|{sha256}"}},
    "time": {"field": "time", "format": "unix_ns"},
    "outcome": "outcome",
    "reason": "reason",
    "run": {
        "id": "sha256",
        "records": "records",
        "rejected": "rejected",
        "expected_records": "expected",
        "control_total": "total",
    },
}
ORDER: Json = {
    "when": {"ST01": "850"},
    "step": "p2p.purchase_order.dispatched",
    "keys": {"purchase_order": "BEG03"},
    "amount": {"field": "PO104*", "do": ["sum"]},
}


def source_of(folder: Path, **options: Any) -> FolderSource:
    source = parse_sources(text_of(folder, **options), "edi.yaml").sources["edi"]
    assert isinstance(source, FolderSource)
    return source


def reader_of(folder: Path, **options: Any) -> FolderReader:
    return FolderReader(source_of(folder, **options), lambda: NOW_NS, hasty())


def runs(folder: Path, **options: Any) -> list[Step]:
    """Return the runs of all files of a folder."""
    source = source_of(folder, rules=[RUN, ORDER], **options)
    reader = FolderReader(source, lambda: NOW_NS)
    mapper = Mapper(source, "edi", Policies(default_policy(), Tokeniser(())), lambda: NOW_NS)
    return [step for step in mapper.map(reader.read().records, reader).steps if step.code == RUN["step"]]


def manifest(folder: Path, *lines: str) -> None:
    file = folder / "today.mf"
    file.write_text("\n".join(lines), encoding="utf-8")
    os.utime(file, ns=(OLD_NS, OLD_NS))


def test_a_manifest_says_which_files_are_whole(tmp_path: Path) -> None:
    """Not before, and none that it does not name; one with another checksum is refused, and the manifest is no document."""
    content = write(tmp_path / "a.edi", "PO-1")
    write(tmp_path / "b.edi", "PO-2", control=2)
    write(tmp_path / "c.edi", "PO-3", control=3)
    reader = reader_of(tmp_path, manifest={"files": [str(tmp_path / "*.mf")]})
    assert reader.read() == ([], True)

    manifest(tmp_path, f"{hashlib.sha256(content).hexdigest()}  a.edi", f"{'0' * 64} *b.edi 1")
    assert orders(reader, reader.read().records) == ["PO-1", "wrong_checksum: the manifest says another one"]
    assert reader.problems == {}


def test_a_manifest_that_says_nothing(tmp_path: Path) -> None:
    """It is a problem that is shown, and no file is whole for it."""
    write(tmp_path / "a.edi", "PO-1")
    manifest(tmp_path, "no line")
    reader = reader_of(tmp_path, manifest={"files": [str(tmp_path / "*.mf")]})

    assert reader.read() == ([], True)
    assert list(reader.problems) == [str(tmp_path / "today.mf")]


def test_a_file_that_is_touched_is_not_read_again(tmp_path: Path) -> None:
    """Its content is what it was; changed, it is read."""
    write(tmp_path / "a.edi", "PO-1")
    reader = reader_of(tmp_path)
    reader.read()
    write(tmp_path / "a.edi", "PO-1", changed_ns=OLD_NS + 1)
    assert reader.read() == ([], True)

    write(tmp_path / "a.edi", "PO-2", changed_ns=OLD_NS + 2)
    assert orders(reader, reader.read().records) == ["PO-2"]


def test_a_file_that_is_sent_again(tmp_path: Path) -> None:
    """Under any name, also after the first one was put away, and by what another process saved."""
    write(tmp_path / "a.edi", "PO-1")
    reader = reader_of(tmp_path)
    reader.read()
    (tmp_path / "a.edi").unlink()
    assert reader.read() == ([], True)
    write(tmp_path / "a.edi", "PO-1", changed_ns=OLD_NS + 1)
    assert orders(reader, reader.read().records) == ["duplicate: a file with this content was read"]

    other = reader_of(tmp_path)
    other.restore(json.loads(json.dumps(reader.state())))
    write(tmp_path / "again.edi", "PO-1")
    assert orders(other, other.read().records) == ["duplicate: a file with this content was read"]


def test_files_are_put_away_when_they_were_acknowledged(tmp_path: Path) -> None:
    """Not before; the defective ones elsewhere; one that has the name of another keeps it, with a number."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "a.edi").write_bytes(b"an older one")
    write(folder / "a.edi", "PO-1")
    (folder / "bad.edi").write_bytes(b"no interchange")
    os.utime(folder / "bad.edi", ns=(OLD_NS, OLD_NS))
    archive = {"to": str(tmp_path / "done"), "rejected": str(tmp_path / "bad")}
    reader = reader_of(folder, archive=archive)
    reader.read()
    reader.read()
    assert sorted(file.name for file in folder.iterdir()) == ["a.edi", "bad.edi"]

    reader.acknowledged(reader.state())
    reader.read()
    assert sorted(file.name for file in folder.iterdir()) == []
    assert sorted(file.name for file in (tmp_path / "done").iterdir()) == ["a.edi", "a.edi.2"]
    assert sorted(file.name for file in (tmp_path / "bad").iterdir()) == ["bad.edi"]


def test_put_away_by_all_of_the_scraper(tmp_path: Path) -> None:
    """A collector that does not take it leaves the file where it is."""
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.edi", "PO-1")
    file = tmp_path / "sources.yaml"
    file.write_text(text_of(folder, archive={"to": str(tmp_path / "done")}), encoding="utf-8")
    seen: list[bool] = []

    def decide(number: int, body: bytes) -> Answer:
        seen.append((folder / "a.edi").exists())
        return OK

    with answering(decide) as server:
        scraper = Scraper(file, tmp_path / "scrape", Collector(server.url), Redaction(default_policy()))
        scraper.run_once()
        scraper.close()

    assert seen[0] is True
    assert [each.name for each in (tmp_path / "done").iterdir()] == ["a.edi"]


@pytest.mark.parametrize(
    ("announced", "outcome", "reason"),
    [("", "ok", None), (" 2", "ok", None), (" 3", "exception", "wrong_count")],
)
def test_a_run_of_each_file(tmp_path: Path, announced: str, outcome: str, reason: str | None) -> None:
    """With how many documents there are, what their sum is, and how many a manifest says."""
    content = write(tmp_path / "a.edi", "PO-1", "PO-2")
    digest = hashlib.sha256(content).hexdigest()
    manifest(tmp_path, f"{digest}  a.edi{announced}")
    (run,) = runs(tmp_path, manifest={"files": [str(tmp_path / "*.mf")]})

    taken = run.attributes
    assert taken["controltower.key.file"] == f"ACME|a.edi|{digest}"
    assert (taken[attributes.OUTCOME], taken.get(attributes.REASON)) == (outcome, reason)
    assert (taken[attributes.RUN_ID], taken[attributes.RUN_RECORDS], taken[attributes.RUN_REJECTED]) == (digest, 2, 0)
    assert (taken[attributes.RUN_CONTROL_TOTAL], taken.get(attributes.RUN_EXPECTED)) == (
        "250.00",
        int(announced or 0) or None,
    )
    assert run.at_ns == OLD_NS


def test_runs_of_files_that_are_not_well(tmp_path: Path) -> None:
    """One with a rejected document, and one that was sent twice; each by itself."""
    content = write(tmp_path / "a.edi", "PO-1", "PO-2").replace(b"SE*4*0001", b"SE*9*0001")
    (tmp_path / "a.edi").write_bytes(content)
    (tmp_path / "b.edi").write_bytes(content)
    write(tmp_path / "c.edi", "PO-3", control=3)
    for number, name in enumerate("abc"):
        os.utime(tmp_path / f"{name}.edi", ns=(OLD_NS + number, OLD_NS + number))

    told = [
        (
            run.attributes[attributes.OUTCOME],
            run.attributes.get(attributes.REASON),
            run.attributes[attributes.RUN_RECORDS],
            run.attributes[attributes.RUN_REJECTED],
        )
        for run in runs(tmp_path)
    ]
    assert told == [("exception", "rejected_records", 2, 1), ("duplicate", "duplicate", 1, 1), ("ok", None, 1, 0)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"storage": {"host": "a"}}, "is for files behind an address"),
        ({"files": ["ftp://a/*"]}, "is none of sftp://"),
        ({"files": ["sftp://a/*", "sftp://b/*"]}, "in one place"),
        ({"files": ["sftp://a/*"], "storage": {"password": "x"}}, "is a secret"),
        ({"files": ["sftp://a/*"], "storage": {"password": {}}}, "give either env or file"),
        ({"archive": {"to": "HERE"}}, "would be found again"),
        ({"manifest": {"files": ["*.mf"], "line": "x"}}, "needs the group name"),
        ({"manifest": {"files": ["*.mf"]}, "trigger": ".done"}, "not by both"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, options: Json, words: str) -> None:
    """When the file is read."""
    if options.get("archive"):
        options = {"archive": {"to": str(tmp_path)}}
    with pytest.raises(SourcesError, match=words):
        source_of(tmp_path, **options)


def test_secrets_are_read_when_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment or a file, and not shown."""
    (tmp_path / "word").write_text("s3cr3t\n", encoding="utf-8")
    storage = {
        "password": {"file": str(tmp_path / "word")},
        "passphrase": {"env": "CONTROLTOWER_TEST_WORD"},
        "port": 22,
    }
    source = source_of(tmp_path, files=["sftp://a/*"], storage=storage)
    monkeypatch.setenv("CONTROLTOWER_TEST_WORD", "other")

    assert source.options() == {"password": "s3cr3t", "passphrase": "other", "port": 22}
    assert "s3cr3t" not in repr(source)
