"""The journal's cipher, and the keys that it is given."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.cipher import AesGcm, cipher_of
from controltower.collector.errors import SettingsError
from controltower.tracer.journal import NotAuthenticError

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
ONE_TEXT, TWO_TEXT = base64.b64encode(ONE).decode(), base64.b64encode(TWO).decode()
CIPHER = AesGcm([ONE])
VARIABLE = "KEY"


@given(st.binary(max_size=300), st.text(max_size=40), st.integers(0, 2**64 - 1))
def test_what_was_sealed_is_given_back(plain: bytes, name: str, position: int) -> None:
    """At its own place, under its own key, and nowhere in clear."""
    sealed = CIPHER.seal(plain, name, position)

    assert CIPHER.unseal(sealed, name, position) == plain
    assert len(plain) < 8 or plain not in sealed


@given(st.binary(max_size=60), st.data())
def test_any_change_is_noticed(plain: bytes, data: st.DataObject) -> None:
    """A bit flipped anywhere, the id of the key included, or a cut."""
    sealed = CIPHER.seal(plain, "s", 7)
    changed = bytearray(sealed)
    changed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = sealed[: data.draw(st.integers(0, len(sealed) - 1))]

    for bad in (bytes(changed), cut):
        with pytest.raises(NotAuthenticError):
            CIPHER.unseal(bad, "s", 7)


@pytest.mark.parametrize(("name", "position"), [("s", 8), ("t", 7), ("", 7)])
def test_nothing_can_be_moved(name: str, position: int) -> None:
    """What was sealed for one place is refused at another."""
    with pytest.raises(NotAuthenticError):
        CIPHER.unseal(CIPHER.seal(b"text", "s", 7), name, position)


def test_the_same_text_never_looks_the_same() -> None:
    """Nonces are not repeated."""
    assert len({CIPHER.seal(b"text", "s", 7) for _ in range(100)}) == 100


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    """A new key in front: what the old one sealed can be read, and what is sealed now needs the new one."""
    old, both, new = AesGcm([ONE]), AesGcm([TWO, ONE]), AesGcm([TWO])

    assert both.unseal(old.seal(b"text", "s", 7), "s", 7) == b"text"
    assert new.unseal(both.seal(b"text", "s", 7), "s", 7) == b"text"
    assert both.key_ids == (*new.key_ids, *old.key_ids)
    assert both.fingerprints(b"x") == (*new.fingerprints(b"x"), *old.fingerprints(b"x"))


def test_a_key_does_not_show() -> None:
    """Neither the cipher nor its ids tell a byte of the key."""
    shown = f"{CIPHER!r} {CIPHER.key_ids}"

    assert ONE.hex()[:16] not in shown
    assert ONE_TEXT not in shown


@pytest.mark.parametrize(
    "text", [f"{ONE_TEXT},{TWO_TEXT}", f"{ONE_TEXT}\n{TWO_TEXT}\n", f" {ONE_TEXT} # new\n\n#\n{TWO_TEXT}"]
)
def test_keys_stand_in_lines_or_between_commas(text: str) -> None:
    """Comments and empty lines are skipped; the order is kept."""
    cipher = cipher_of(text, "", VARIABLE)

    assert cipher is not None
    assert cipher.key_ids == AesGcm([ONE, TWO]).key_ids


def test_keys_are_read_from_a_private_file(tmp_path: Path) -> None:
    """A file that others can read is refused, and the sentence says what to do."""
    file = tmp_path / "keys"
    file.write_text(ONE_TEXT)
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        cipher_of("", str(file), VARIABLE)
    file.chmod(0o600)

    cipher = cipher_of("", str(file), VARIABLE)
    assert cipher is not None
    assert cipher.key_ids == CIPHER.key_ids


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("short", "openssl rand"),
        (base64.b64encode(b"x" * 31).decode(), "openssl rand"),
        (ONE.hex(), "openssl rand"),
        (f"{ONE_TEXT},{ONE_TEXT}", "twice"),
        ("# nothing", "there are 0"),
        (",".join(base64.b64encode(bytes([n]) * 32).decode() for n in range(17)), "there are 17"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_without_being_shown(key: str, problem: str) -> None:
    """The variable is named, the key is not."""
    with pytest.raises(SettingsError, match=problem) as caught:
        cipher_of(key, "", VARIABLE)

    assert VARIABLE in str(caught.value)
    assert key not in str(caught.value)


def test_there_is_one_place_for_keys(tmp_path: Path) -> None:
    """Both are a mistake, none is no encryption, and a file that is missing is said so."""
    with pytest.raises(SettingsError, match="not both"):
        cipher_of(ONE_TEXT, "keys", VARIABLE)
    with pytest.raises(SettingsError, match="cannot be read"):
        cipher_of("", str(tmp_path / "none"), VARIABLE)

    assert cipher_of("", "", VARIABLE) is None
