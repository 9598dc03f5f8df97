"""What is taken over HTTP beyond the conformance list: large bodies, bodies sent again, bombs, and what is kept of them."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controltower.collector import admission, intake
from controltower.collector.auth import create_token
from controltower.collector.settings import Settings
from tests.collector.conforming import WAYS, Way, json_request, new_request, new_span, send_json, spans_of, stored_by
from tests.collector.requests import PATIENCE_S, Tower, request_of, running
from tests.processes import until


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    """A collector with default limits, for all tests here."""
    with running(tmp_path_factory.mktemp("tower")) as started:
        yield started


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_large_bodies_are_stored_whole(tower: Tower, way: Way) -> None:
    """What is too large for the event loop is decoded in a thread, in every encoding."""
    body = new_request(3_000)

    assert spans_of(stored_by(tower, lambda: way.send(tower, body))) == spans_of([body])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_partial_success_sent_again_has_the_same_answer(tower: Tower, way: Way) -> None:
    """What was left out is left out again, and what was stored is stored once."""
    good, bad = new_span(), new_span(trace_id=b"")
    first = stored_by(tower, lambda: way.send(tower, request_of(good, bad)))
    answers = [way.send(tower, request_of(good, bad)).body for _ in range(2)]

    assert spans_of(first) == [good]
    assert b"1 spans were rejected" in answers[0]
    assert answers[0] == answers[1]
    assert stored_by(tower, lambda: way.send(tower, request_of(good, bad))) == []


@pytest.mark.parametrize("bomb", [b"{},", b"[],", b"0,", b'{"a":1},'])
@pytest.mark.parametrize("around", [b'{"resourceSpans":[%s{}]}', b'{"x":[%s{}]}'])
def test_a_bomb_in_json_is_refused_unparsed(tower: Tower, bomb: bytes, around: bytes) -> None:
    """Millions of small values would take gigabytes; they are counted in the text."""
    assert send_json(tower, around % (bomb * 3_000_000)).status == 413


def test_items_of_json_are_counted(tower: Tower) -> None:
    """100,000 spans are the most, whichever encoding they come in."""
    answer = send_json(tower, json_request([{}]).replace(b"}]}]}]}", b"}" + b",{}" * 100_000 + b"]}]}]}"))

    assert answer.status == 413
    assert "100000 spans" in answer.json["message"]


def test_what_cannot_be_decoded_is_not_kept_of_a_source_of_class_phi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody could redact it; and neither log nor answer quotes what the decoder tripped over."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Zebulon")

    monkeypatch.setattr(intake, "admit", fail)
    with running(tmp_path, redact=lambda signal, request, tenant: {}) as own:
        token = create_token(tmp_path / "tokens.json", "clinic", "acme", phi=True)
        answer = own.send(new_request(), authorization=f"Bearer {token}")

        assert answer.status == 400
        assert not list((own.journal.folder / "quarantine").iterdir())
    assert "RuntimeError in test_receive.py" in caplog.text
    assert "Zebulon" not in caplog.text + json.dumps(answer.body.decode(errors="replace"))


def test_room_is_held_for_as_long_as_a_body_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that was told to come back in time does not make room while its body is still being decoded."""
    go_on = threading.Event()

    def slow(*arguments: Any, **options: Any) -> Any:
        assert go_on.wait(PATIENCE_S)
        return admission.admit(*arguments, **options)

    monkeypatch.setattr(intake, "admit", slow)
    body = new_request(4_000)
    with running(tmp_path, Settings(port=0, deadline_s=0.2, in_flight_bytes=len(body) * 3 // 2)) as own:
        late, refused = own.send(body), own.send(new_request(4_000))
        go_on.set()
        monkeypatch.undo()

        assert "in time" in late.refusal.message
        assert "same time" in refused.refusal.message
        until(lambda: own.send(body).status == 200, "the room is free again")
