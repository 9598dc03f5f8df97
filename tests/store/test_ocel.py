"""Logs of OCEL: what is written is what was read, in every form, whatever a log holds."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from controltower.store.ocel.errors import OcelError
from controltower.store.ocel.staged import Event, Object
from tests.samples import SAMPLES, needs_samples
from tests.store.ocel_logs import Log, content, content_of, logs, staging

pytest.importorskip("ijson", reason="event logs need controltower[import]")
from controltower.store.ocel.writing import WRITERS

OCEL = SAMPLES / "copyleft"


@given(log=logs())
@settings(deadline=None, max_examples=20)
@pytest.mark.parametrize("form", WRITERS)
def test_a_log_that_is_written_is_read_again(form: str, log: Log, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Types, events, objects, values with their times, and relations with their qualifiers: all of it, and no more."""
    file = tmp_path_factory.mktemp("ocel") / "log"
    with staging() as staged:
        log.stage(staged)
        WRITERS[form](staged, file)
        there = content(staged)

    assert content_of(file) == there
    assert len(there[2]) == len(log.events)


@needs_samples
@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
    "sample",
    [
        "pm4py-ocel/ocel20_example.jsonocel",
        "pm4py-ocel/ocel20_example.xmlocel",
        "pm4py-ocel/ocel20_example.sqlite",
        "ocpa-p2p/p2p-normal.jsonocel",
    ],
)
def test_public_logs_are_the_same_in_every_form(sample: str, form: str, tmp_path: Path) -> None:
    """A log of others is the same in every form."""
    from controltower.store.ocel.reading import stage

    with staging() as staged:
        stage(OCEL / sample, staged)
        WRITERS[form](staged, tmp_path / "log")
        there = content(staged)

    assert content_of(tmp_path / "log") == there


@pytest.mark.parametrize(
    ("form", "log", "words"),
    [
        ("xml", Log({"a": {}}, {}, (), (Event("e\x01", "a", "2026-01-01T00:00:00+00:00", {}, []),)), "as XML"),
        ("sqlite", Log({"a": {"b": "string", "B": "string"}}, {}, (), ()), "b of a is there twice"),
        ("sqlite", Log({"a": {"ocel_id": "string"}}, {}, (), ()), "ocel_id of a"),
        ("sqlite", Log({}, {"a": {"b": "integer"}}, (Object("o", "a", [("b", "", str(2**63))], []),), ()), "too large"),
    ],
)
def test_what_a_form_cannot_hold_is_refused(form: str, log: Log, words: str, tmp_path: Path) -> None:
    """Nothing is changed to fit: the form that holds everything is named."""
    with staging() as staged:
        log.stage(staged)
        with pytest.raises(OcelError, match=words) as raised:
            WRITERS[form](staged, tmp_path / "log")

    assert "JSON" in str(raised.value)


@pytest.mark.parametrize("form", WRITERS)
def test_no_file_is_overwritten(form: str, tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    (tmp_path / "log").write_text("mine", encoding="utf-8")
    with staging() as staged, pytest.raises(FileExistsError):
        WRITERS[form](staged, tmp_path / "log")

    assert (tmp_path / "log").read_text(encoding="utf-8") == "mine"
