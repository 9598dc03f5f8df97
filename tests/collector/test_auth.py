"""Tokens: made, kept as hashes, found again."""

import hmac
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controltower.collector.auth import Denied, Sender, Tokens
from controltower.collector.errors import TokensError
from controltower.collector.token_file import create_token, hash_of, read_tokens, revoke_tokens, rotate_token

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "tokens.json"


def test_a_token_names_its_sender(path: Path) -> None:
    """What was created is recognised, whatever the case of the scheme."""
    north, south = create_token(path, "erp", "north"), create_token(path, "edi", "south")
    tokens = Tokens(path)

    assert tokens.sender(f"Bearer {north}") == Sender("erp", "north")
    assert tokens.sender(f"bearer {south}") == Sender("edi", "south")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic x", "Bearer \udce9"])
def test_anything_else_names_nobody(path: Path, header: str | None) -> None:
    """No header, no token, another scheme, bytes that are no text."""
    create_token(path, "erp")

    assert Tokens(path).sender(header) is None


def test_the_file_holds_hashes_for_its_owner_only(path: Path) -> None:
    """Who reads the file gets no token, and nobody else can read it."""
    token = create_token(path, "erp")

    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 43


def test_a_new_token_replaces_that_of_the_same_name(path: Path) -> None:
    """A token that leaked is taken out of use by making another."""
    old, other = create_token(path, "erp"), create_token(path, "edi")
    new = create_token(path, "erp")
    tokens = Tokens(path)

    assert tokens.sender(f"Bearer {old}") is None
    assert tokens.sender(f"Bearer {new}") == Sender("erp", "")
    assert tokens.sender(f"Bearer {other}") == Sender("edi", "")


def test_a_change_counts_without_a_restart(path: Path) -> None:
    """Tokens that are added or taken away while the collector runs count at once."""
    first = create_token(path, "erp")
    tokens = Tokens(path)
    second = create_token(path, "erp")

    assert tokens.sender(f"Bearer {second}") is not None
    assert tokens.sender(f"Bearer {first}") is None


def test_a_broken_change_keeps_the_known_tokens(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in the file does not lock every sender out; it is logged once."""
    token = create_token(path, "erp")
    tokens = Tokens(path)
    path.write_text("{")

    assert tokens.sender(f"Bearer {token}") is not None
    assert tokens.sender(f"Bearer {token}") is not None
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"tokens": [{}]}', '{"tokens": [{"name": 1, "hash": "00"}]}', "x"]
)
def test_a_file_of_another_form_is_refused(path: Path, content: str) -> None:
    """The error shows the form that is expected."""
    create_token(path, "erp")
    path.write_text(content)

    with pytest.raises(TokensError, match="is not of the form"):
        Tokens(path)


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    """The error says what to run."""
    create_token(path, "erp")
    path.chmod(0o644)

    with pytest.raises(TokensError, match="chmod 600"):
        Tokens(path)


def test_a_missing_file_is_refused(path: Path) -> None:
    """The error names the file."""
    with pytest.raises(TokensError, match="does not exist"):
        Tokens(path)


def test_the_form_of_the_file(path: Path) -> None:
    """Operators may write it by hand; this is what it looks like, without what restricts nothing."""
    create_token(path, "erp", "north", now=NOON)
    create_token(
        path, "clinic", phi=True, signals=frozenset({"logs", "traces"}), sources=frozenset({"ward-*"}), now=NOON
    )
    content = json.loads(path.read_text())
    erp, clinic = content["tokens"]

    assert content["version"] == 2
    assert {name: type(value) for name, value in erp.items()} == dict.fromkeys(
        ("name", "hash", "tenant", "created"), str
    )
    assert clinic["signals"] == ["logs", "traces"]
    assert (clinic["sources"], clinic["phi"], clinic["created"]) == (["ward-*"], True, "2026-11-24T12:00:00Z")


def test_the_form_of_version_1_is_read(path: Path) -> None:
    """Files of before are read as they are, and written in the form of today when something changes."""
    path.parent.mkdir(mode=0o700)
    path.write_text(json.dumps({"tokens": [{"name": "old", "hash": hash_of("secret"), "tenant": "north"}]}))
    path.chmod(0o600)
    before = Tokens(path).sender("Bearer secret")
    create_token(path, "new")

    assert before == Tokens(path).sender("Bearer secret") == Sender("old", "north")


@pytest.mark.parametrize(
    "field",
    [
        '"sources": []',
        '"signals": []',
        '"signals": "traces"',
        '"phi": "yes"',
        '"expires": "tomorrow"',
        '"expires": "2026-11-24T12:00:00"',
        '"admin": true',
        '"items_per_s": "many"',
    ],
)
def test_what_could_widen_a_scope_by_mistake_is_refused(path: Path, field: str) -> None:
    """An empty list, a word for a list, a time without a zone or a field that is not known does not mean everything."""
    create_token(path, "erp")
    path.write_text(f'{{"version": 2, "tokens": [{{"name": "x", "hash": "{"0" * 64}", "tenant": "", {field}}}]}}')

    with pytest.raises(TokensError, match="is not of the form"):
        read_tokens(path)


@pytest.mark.parametrize(
    ("scope", "problem"),
    [
        ({"signals": frozenset({"profiles"})}, "there are traces, logs, metrics"),
        ({"sources": frozenset({"a*b"})}, "at the end only"),
        ({"sources": frozenset({""})}, "at the end only"),
        ({"items_per_s": -1.0}, "a number"),
        ({"name": "a\nb"}, "printable"),
        ({"name": "x" * 101}, "printable"),
    ],
)
def test_a_scope_that_cannot_be_is_refused(path: Path, scope: dict[str, Any], problem: str) -> None:
    """Nothing is written, and the error says what is wrong."""
    with pytest.raises(TokensError, match=problem):
        create_token(path, **{"name": "erp", **scope})

    assert not path.exists()


def test_a_newer_version_is_not_guessed_at(path: Path) -> None:
    """The program says that it is too old."""
    create_token(path, "erp")
    path.write_text('{"version": 3, "tokens": []}')

    with pytest.raises(TokensError, match=r"of version 3.*upgrade"):
        read_tokens(path)


def test_a_token_ends_when_it_expires(path: Path) -> None:
    """At that second it counts no more, and the refusal can tell whose it was."""
    token = create_token(path, "erp", now=NOON, expires=NOON + timedelta(hours=1))
    now = [NOON]
    tokens = Tokens(path, lambda: int(now[0].timestamp() * 1e9))
    before = tokens.sender(f"Bearer {token}")
    now[0] += timedelta(hours=1)
    denied = tokens.recognise(f"Bearer {token}")

    assert before is not None
    assert isinstance(denied, Denied)
    assert (denied.why, denied.name) == ("expired", "erp")
    assert tokens.sender(f"Bearer {token}") is None


def test_rotation_overlaps(path: Path) -> None:
    """Old and new count while senders change over, with the same scope; then only the new one does, as long as the old."""
    scope = {"signals": frozenset({"traces"}), "phi": True}
    old = create_token(path, "erp", "north", now=NOON, expires=NOON + timedelta(days=90), **scope)
    new = rotate_token(path, "erp", timedelta(hours=24), now=NOON + timedelta(days=1))
    now = [NOON + timedelta(days=1, hours=23)]
    tokens = Tokens(path, lambda: int(now[0].timestamp() * 1e9))
    during = tokens.sender(f"Bearer {old}"), tokens.sender(f"Bearer {new}")
    now[0] += timedelta(hours=1)
    after = tokens.sender(f"Bearer {old}"), tokens.sender(f"Bearer {new}")

    assert during[0] == during[1] == after[1] == Sender("erp", "north", signals=frozenset({"traces"}), phi=True)
    assert after[0] is None
    assert max(token.expires for token in read_tokens(path) if token.expires) == NOON + timedelta(days=91)


def test_rotation_does_not_prolong_what_ends_sooner(path: Path) -> None:
    """A token that ends within the overlap ends when it would have."""
    create_token(path, "erp", now=NOON, expires=NOON + timedelta(hours=1))
    rotate_token(path, "erp", timedelta(hours=24), now=NOON)

    assert min(token.expires for token in read_tokens(path) if token.expires) == NOON + timedelta(hours=1)


def test_revocation_counts_at_once(path: Path) -> None:
    """Every token of the name is out of use from the next request on, and no other."""
    old, other = create_token(path, "erp"), create_token(path, "edi")
    new = rotate_token(path, "erp", timedelta(hours=24))
    tokens = Tokens(path)
    before = tokens.sender(f"Bearer {old}"), tokens.sender(f"Bearer {new}")
    revoked = revoke_tokens(path, "erp")

    assert None not in before
    assert revoked == 2
    assert tokens.sender(f"Bearer {old}") is None
    assert tokens.sender(f"Bearer {new}") is None
    assert tokens.sender(f"Bearer {other}") is not None


def test_two_that_change_the_file_lose_nothing(path: Path) -> None:
    """Changes at the same time come one after the other."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: create_token(path, f"sender-{number}"), range(24)))

    assert {token.name for token in read_tokens(path)} == {f"sender-{number}" for number in range(24)}


def test_comparing_takes_as_long_for_each_token(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known or not, one comparison in constant time decides."""
    compared: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def noted(one: str, other: str) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    token = create_token(path, "erp")
    tokens = Tokens(path)
    tokens.sender(f"Bearer {token}")
    tokens.sender("Bearer unknown")

    assert [len(pair[1]) for pair in compared] == [64, 64]


def test_nothing_shows_a_token(path: Path) -> None:
    """Neither the sender, nor the denial, nor the tokens in memory print it."""
    token = create_token(path, "erp")
    tokens = Tokens(path)
    shown = repr([tokens, tokens.recognise(f"Bearer {token}"), tokens.recognise(f"Bearer {token}x"), read_tokens(path)])

    assert token not in shown
