"""Tokens: the published form, what is equal, what is not, and where the key comes from (keys.md, section 5)."""

import base64
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.errors import SettingsError
from controltower.collector.redaction.keys import Keys, read_keys
from controltower.tracer.tokens import Key, Tokeniser, is_token, normalised

SECRET = bytes(range(32))
ENCODED = base64.b64encode(SECRET).decode()
OTHER = base64.b64encode(SECRET[::-1]).decode()
THIRD = base64.b64encode(SECRET + SECRET).decode()
ONE = Tokeniser((Key(1, SECRET),))

# (type, scope, value) -> token: what every SDK in every language must make of it.
PUBLISHED = json.loads((Path(__file__).resolve().parents[3] / "docs" / "token-vectors.json").read_text("utf-8"))
GOLDEN = {(each["type"], each["scope"], each["value"]): each["token"] for each in PUBLISHED["vectors"]}


@pytest.mark.parametrize(("key", "token"), GOLDEN.items(), ids=map(repr, GOLDEN))
def test_golden_vectors(key: tuple[str, str, str], token: str) -> None:
    """A token is the one that is published."""
    type_, scope, value = key

    assert PUBLISHED["key"] == f"1:{ENCODED}"
    assert ONE.tokens(type_, scope.encode(), value.encode()) == (token.encode(),)


@given(st.sampled_from(["case", "account"]), st.text(max_size=20), st.text(max_size=40))
def test_the_form_is_the_specified_one(type_: str, scope: str, value: str) -> None:
    """A token is t, the version, and the first 26 characters of the MAC of type, scope and normalised value in base32."""
    message = "\x1f".join((type_, scope, normalised(value))).encode()
    expected = base64.b32encode(hmac.digest(SECRET, message, "sha256"))[:26].decode()

    (token,) = ONE.tokens(type_, scope.encode(), value.encode())
    assert token.decode() == f"t1:{expected}"
    assert is_token(token)


def test_a_token_is_left_alone() -> None:
    """What an SDK made a token of already stays as it is."""
    (token,) = ONE.tokens("case", b"", b"C-1")

    assert ONE.tokens("case", b"", token) == (token,)


def test_in_a_rotation_there_are_both() -> None:
    """With the key before, each value has both tokens, the present one first."""
    both = Tokeniser((Key(2, b"x" * 32), Key(1, SECRET)))

    new, old = both.tokens("case", b"", b"C-1")
    assert new.startswith(b"t2:")
    assert (old,) == ONE.tokens("case", b"", b"C-1")


def test_keys_come_from_a_variable_or_a_file(tmp_path: Path) -> None:
    """Both forms name version and key, the present one first; none is no key."""
    file = tmp_path / "key"
    file.write_text(f"2:{ENCODED}\n1:{ENCODED}\n")
    file.chmod(0o600)

    assert read_keys({"CONTROLTOWER_REDACTION_KEY": f"1:{ENCODED}"}) == Keys({"": (Key(1, SECRET),)})
    assert read_keys({"CONTROLTOWER_REDACTION_KEY_FILE": str(file)}) == Keys({"": (Key(2, SECRET), Key(1, SECRET))})
    assert read_keys({}) == Keys()


def test_a_tenant_has_its_own_keys_else_those_of_every_tenant() -> None:
    """A name before the key says whose it is; a key without one is for all others, and without that one they have none."""
    read = {"CONTROLTOWER_REDACTION_KEY": f"1:{ENCODED}, north=1:{OTHER},south/west=1:{THIRD}"}

    keys = read_keys(read)

    assert keys.of("north") == (Key(1, SECRET[::-1]),)
    assert keys.of("south/west") == (Key(1, SECRET + SECRET),)
    assert keys.of("") == keys.of("east") == (Key(1, SECRET),)
    assert read_keys({"CONTROLTOWER_REDACTION_KEY": f"north=1:{OTHER}"}).of("east") == ()


@pytest.mark.parametrize(
    "text",
    [
        "hunter2secret",
        ENCODED,
        f"0:{ENCODED}",
        f"x:{ENCODED}",
        "1:c2hvcnQ=",
        f"1:{ENCODED},1:{ENCODED}",
        f"1:{ENCODED},2:{ENCODED},3:{ENCODED}",
        f"north=1:{ENCODED},south=1:{ENCODED}",  # tokens of the two would join
        f"north=1:{ENCODED},south=2:{OTHER}",
        f"2:{ENCODED},1:{OTHER},south=2:{THIRD}",
        f"=1:{ENCODED}",
        f"a=b=1:{ENCODED}",
        ",".join(f"t{n}=1:{base64.b64encode(bytes([n]) * 32).decode()}" for n in range(101)),
    ],
)
def test_a_bad_key_refuses_to_start_and_is_not_shown(text: str) -> None:
    """A key that cannot be used is refused by the name of its variable, without its value."""
    with pytest.raises(SettingsError, match="CONTROLTOWER_REDACTION_KEY") as refused:
        read_keys({"CONTROLTOWER_REDACTION_KEY": text})

    assert ENCODED not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A key is its owner's alone; the same goes for a file that is not there, and for two keys at once."""
    file = tmp_path / "key"
    file.write_text(f"1:{ENCODED}")
    file.chmod(0o644)

    for environment in (
        {"CONTROLTOWER_REDACTION_KEY_FILE": str(file)},
        {"CONTROLTOWER_REDACTION_KEY_FILE": str(tmp_path / "none")},
        {"CONTROLTOWER_REDACTION_KEY_FILE": str(file), "CONTROLTOWER_REDACTION_KEY": f"1:{ENCODED}"},
    ):
        with pytest.raises(SettingsError, match="CONTROLTOWER_REDACTION_KEY"):
            read_keys(environment)


def test_a_key_does_not_show() -> None:
    """No repr shows a key."""
    assert "secret" not in repr(Key(1, b"secret" * 6))
