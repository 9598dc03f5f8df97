"""Signatures as Standard Webhooks say, by an outside library and an outside set of cases."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from controltower.alerts.errors import SecretError
from controltower.alerts.signing import decode_secret, sign

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT.parent / "shared" / "data" / "standard-webhooks-vectors" / "vectors.json"
TOLERANCE = timedelta(minutes=5)

needs_vectors = pytest.mark.skipif(
    not VECTORS.is_file(), reason="needs ../shared/data/standard-webhooks-vectors (evaluation data beside the checkout)"
)


def vectors() -> dict[str, Any]:
    """Return the outside cases."""
    read: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return read


@needs_vectors
def test_outside_cases_have_their_verdicts() -> None:
    """Signing what a case says gives one of its signatures exactly where the case is valid, the time allowing."""
    verdicts = {case["name"]: _is_ours(case) for case in vectors()["cases"]}

    assert verdicts == {case["name"]: case["valid"] for case in vectors()["cases"]}
    assert len(verdicts) == 13


def _is_ours(case: dict[str, Any]) -> bool:
    headers = case["headers"]
    if not all(headers.get(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")):
        return False
    if not headers["webhook-timestamp"].isdecimal():
        return False
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC)
    if abs(datetime.fromtimestamp(case["now"], tz=UTC) - at) > TOLERANCE:
        return False
    made = sign([decode_secret(case["secret"])], headers["webhook-id"], at, case["payload"].encode())
    return made["webhook-signature"] in headers["webhook-signature"].split(" ")


@needs_vectors
def test_outside_secrets_that_must_be_refused_are() -> None:
    """The cases' empty secrets are no keys."""
    for secret in vectors()["empty_secrets_must_be_refused"]:
        with pytest.raises(SecretError):
            decode_secret(secret)


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), f" {SECRET}\n"])
def test_the_prefix_of_a_secret_is_optional(secret: str) -> None:
    """A secret means the same with and without its prefix and spaces around it."""
    assert decode_secret(secret) == decode_secret(SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!", "whsec_c2hvcnQ=", "whsec_" + "QUFB" * 22, "whsk_AAAA"])
def test_a_secret_that_cannot_be_one_is_refused_without_being_shown(secret: str) -> None:
    """Too short, too long, not base64: refused with the form it should have, and never repeated."""
    with pytest.raises(SecretError) as refused:
        decode_secret(secret)

    assert "whsec_" in str(refused.value)
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in str(refused.value)


@given(st.text(min_size=1).filter(lambda text: text.isprintable() and text.isascii()), st.text())
def test_the_reference_library_signs_the_same(message_id: str, body: str) -> None:
    """Any id and body get the signature that the reference library gives them."""
    at = datetime(2026, 3, 2, 9, 0, 0, 900_000, tzinfo=UTC)

    made = sign([decode_secret(SECRET)], message_id, at, body.encode("utf-8", "replace"))

    text = body.encode("utf-8", "replace").decode()
    assert made["webhook-signature"] == Webhook(SECRET).sign(message_id, at, text)


def test_every_key_signs_while_a_receiver_changes_its_secret() -> None:
    """With two keys a receiver that knows either accepts, and one that knows neither does not."""
    body = b'{"a": 1}'
    headers = sign([decode_secret(SECRET), decode_secret(OTHER)], "msg_1", datetime.now(tz=UTC), body)

    assert Webhook(SECRET).verify(body, headers) == Webhook(OTHER).verify(body, headers) == {"a": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "QUFB" * 8).verify(body, headers)
