"""``controltower token``: made, listed, rotated and revoked in the data folder of a running collector."""

from pathlib import Path

from controltower.cli.data import DataFolder, local_token
from controltower.collector.auth import Sender, Tokens
from tests.cli.conftest import Run


def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "data" / "tokens.json")


def test_create_prints_the_token_and_nothing_else(run: Run, tmp_path: Path) -> None:
    """Its output can be put into a file as it is; the scope is that of the options."""
    made = run("token", "create", "erp", "--tenant", "north", "--source", "erp-*", "--signal", "traces", "--phi")
    secret = made.out.removesuffix("\n")

    assert (made.code, made.err) == (0, "")
    assert len(secret.splitlines()) == 1
    assert tokens(tmp_path).sender(f"Bearer {secret}") == Sender(
        "erp", "north", frozenset({"erp-*"}), frozenset({"traces"}), phi=True
    )


def test_a_name_is_not_given_twice(run: Run, tmp_path: Path) -> None:
    """A token in use is not ended by a slip; the error says what to do."""
    secret = run("token", "create", "erp").out.strip()
    again = run("token", "create", "erp")

    assert again.code == 1
    assert "controltower token rotate" in again.err
    assert tokens(tmp_path).sender(f"Bearer {secret}") is not None


def test_list_shows_no_token_and_no_whole_hash(run: Run) -> None:
    """Names, scopes and ends are for everybody's eyes."""
    made = run("token", "create", "erp", "--expires", "90d", "--items-per-s", "500", "--json").json
    listed = run("token", "list")
    (shown,) = run("token", "list", "--json").json["tokens"]

    assert "erp" in listed.out
    assert "500 items/s" in listed.out
    assert made.pop("token") not in listed.out
    assert shown == made
    assert len(shown["hash"]) == 8
    assert shown["expires"] > shown["created"]


def test_an_empty_list_says_what_to_do(run: Run) -> None:
    """Before the first start there is no token."""
    assert "controltower token create NAME" in run("token", "list").out


def test_rotate_and_revoke_count_at_once(run: Run, tmp_path: Path) -> None:
    """A collector that runs knows the new one and, until it is revoked, the old one."""
    old = run("token", "create", "erp", "--tenant", "north").out.strip()
    known = tokens(tmp_path)
    new = run("token", "rotate", "erp", "--overlap", "1h").out.strip()
    both = known.sender(f"Bearer {old}"), known.sender(f"Bearer {new}")
    revoked = run("token", "revoke", "erp")

    assert both == (Sender("erp", "north"), Sender("erp", "north"))
    assert (revoked.code, revoked.out, revoked.err) == (0, "", "2 of erp revoked\n")
    assert known.sender(f"Bearer {new}") is None


def test_a_name_that_is_not_there_is_an_error(run: Run) -> None:
    """Nobody believes to have revoked what is still in use."""
    run("token", "create", "erp")

    assert run("token", "revoke", "epr").code == 1
    assert run("token", "rotate", "epr").code == 1


def test_a_revoked_local_token_is_made_again(run: Run, tmp_path: Path) -> None:
    """The next start of serve has another one for senders on this machine."""
    folder = DataFolder(tmp_path / "data")
    leaked = local_token(folder)
    kept = local_token(folder)
    run("token", "revoke", "local")
    new = local_token(folder)

    assert kept == leaked != new
    assert tokens(tmp_path).sender(f"Bearer {leaked}") is None
    assert tokens(tmp_path).sender(f"Bearer {new}") is not None
    assert run("token", "rotate", "local").code == 1
