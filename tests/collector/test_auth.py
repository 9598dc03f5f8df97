"""Tokens: made, kept as hashes, found again."""

import json
import stat
from pathlib import Path

import pytest

from controltower.collector.auth import Sender, Tokens, create_token
from controltower.collector.errors import TokensError


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
    """Operators may write it by hand; this is what it looks like."""
    create_token(path, "erp", "north")
    (entry,) = json.loads(path.read_text())["tokens"]

    assert {name: type(value) for name, value in entry.items()} == {"name": str, "hash": str, "tenant": str}
