"""``controltower redact``: what a policy would do to a file, and every mistake of a policy with its place."""

import json
from pathlib import Path

import pytest

from controltower.collector.redaction.keys import read_keys
from controltower.collector.redaction.policy import default_text
from tests.cli.conftest import Run
from tests.collector.redaction.canaries import everywhere, hits

CANARY = "Zebulon Quackenbush, SSN 078-05-1120"
SPANS = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "billing"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "0102030405060708090a0b0c0d0e0f10",
                            "spanId": "0102030405060708",
                            "name": CANARY,
                            "attributes": [
                                {"key": "patient.name", "value": {"stringValue": CANARY}},
                                {"key": "controltower.key.case", "value": {"intValue": "4711"}},
                                {"key": "note", "value": {"stringValue": CANARY}},
                            ],
                        }
                    ]
                }
            ],
        }
    ]
}


@pytest.fixture
def spans(tmp_path: Path) -> Path:
    """A file of spans as OTLP/JSON."""
    file = tmp_path / "spans.json"
    file.write_text(json.dumps(SPANS))
    return file


def changes(run: Run, *words: str) -> dict[tuple[str, str, str], int]:
    """Return what a trial says would be done."""
    found = run("redact", "test", *words, "--json").json["changes"]
    return {(each["field"], each["rule"], each["attribute"]): each["times"] for each in found}


def test_json_is_tried_by_field_and_rule(run: Run, spans: Path) -> None:
    """For a phi source what is not listed is dropped; patients' keys would go, too, as there is no key for tokens."""
    assert changes(run, str(spans)) == {
        ("span.attributes", "drop", "note"): 1,
        ("span.attributes", "drop", "patient.name"): 1,
        ("span.attributes", "no_key", "controltower.key.case"): 1,
        ("span.name", "shape", ""): 1,
    }


def test_another_class_and_a_key_make_a_difference(run: Run, spans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For other sources patterns are masked; with a key patients' keys become tokens."""
    monkeypatch.setenv("CONTROLTOWER_REDACTION_KEY", run("redact", "key").out)

    assert changes(run, str(spans), "--class", "other") == {
        ("span.attributes", "drop", "patient.name"): 1,
        ("span.attributes", "ssn", "note"): 1,
        ("span.attributes", "token", "controltower.key.case"): 1,
        ("span.name", "ssn", ""): 1,
    }


def test_a_tenant_is_tried_with_its_own_key(run: Run, spans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numbers become tokens; those of a tenant without a key would go."""
    monkeypatch.setenv("CONTROLTOWER_REDACTION_KEY", f"north={run('redact', 'key').out}")

    token, gone = (("span.attributes", rule, "controltower.key.case") for rule in ("token", "no_key"))
    assert token in changes(run, str(spans), "--tenant", "north")
    assert gone in changes(run, str(spans), "--tenant", "south")


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_protobuf_of_every_signal_is_recognised(run: Run, tmp_path: Path, signal: str) -> None:
    """A protobuf file is read as the signal that it is; nothing that is printed tells a value."""
    file = tmp_path / "request.bin"
    file.write_bytes(everywhere(signal, "078-05-1120").SerializeToString())

    ran = run("redact", "test", str(file))
    assert ran.code == 0
    assert ran.out.startswith(f"{signal}: ")
    shown = run("redact", "test", str(file), "--json").json
    assert all(each["attribute"] or each["field"] for each in shown["changes"])
    assert hits(json.dumps([each["rule"] for each in shown["changes"]]).encode()) == []


def test_lines_of_text_are_shown_as_they_would_be_stored(run: Run, tmp_path: Path) -> None:
    """A text is tried line by line, as bodies of log records."""
    file = tmp_path / "app.log"
    file.write_text("started\nSSN 078-05-1120 of somebody\n")

    shown = run("redact", "test", str(file), "--class", "other", "--json").json
    assert shown["kind"] == "text"
    assert shown["lines"] == [{"line": 2, "stored": "SSN [ssn] of somebody"}]
    assert "removed" in run("redact", "test", str(file)).out


def test_a_bad_policy_ends_with_its_place(run: Run, spans: Path, tmp_path: Path) -> None:
    """An invalid policy is exit code 1, with file, line and field; so does check, for each file."""
    broken = tmp_path / "broken.yaml"
    broken.write_text(default_text().replace("unlisted: drop", "unlisted: keep", 1))
    line = 1 + next(at for at, text in enumerate(default_text().splitlines()) if "unlisted: drop" in text)

    for words in (("test", str(spans), "--policy", str(broken)), ("check", str(broken))):
        ran = run("redact", *words)
        assert ran.code == 1
        assert f"{broken}:{line}: classes.phi.unlisted: " in ran.err


def test_what_ships_can_be_copied_and_is_correct(run: Run, tmp_path: Path) -> None:
    """``show`` prints the policy that ships, and ``check`` passes it."""
    copy = tmp_path / "mine.yaml"
    copy.write_text(run("redact", "show").out)

    assert "policy default version 1 is correct" in run("redact", "check", str(copy)).out


def test_a_key_is_made(run: Run) -> None:
    """A key that was made can be used, and is another one each time."""
    first, second = run("redact", "key").out, run("redact", "key", "--version", "2").out

    (key,) = read_keys({"CONTROLTOWER_REDACTION_KEY": second}).of("")
    assert key.version == 2
    assert first.partition(":")[2] != second.partition(":")[2]


def test_what_is_no_telemetry_is_said(run: Run, tmp_path: Path) -> None:
    """JSON that is no OTLP is refused with its line and without its values; so is a file that is not there."""
    file = tmp_path / "other.json"
    file.write_text('{"a": "078-05-1120"}')

    ran = run("redact", "test", str(file))
    assert ran.code == 1
    assert "line 1 holds no resourceSpans" in ran.err
    assert "078-05" not in ran.err
    assert run("redact", "test", str(tmp_path / "none")).code == 1
