"""What the webhook channel makes of answers."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controltower.alerts.addresses import parse_allowance
from controltower.alerts.channels.webhook import WebhookChannel
from controltower.alerts.notify import Notice
from controltower.alerts.outbound import Door
from controltower.alerts.signing import decode_secret
from tests.alerts.conftest import SECRET
from tests.alerts.receiver import Receiver, Reply, receiving

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NOTICE = Notice("msg_1", '{"type":"t"}', AT)
TOKEN = "T0K3N-very-secret"


def channel(url: str, timeout_s: float = 5.0) -> WebhookChannel:
    """Return a channel to *url*."""
    return WebhookChannel(url, [decode_secret(SECRET)], Door(parse_allowance(["127.0.0.1"]), timeout_s=timeout_s))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_two_hundreds_are_success(receiver: Receiver, status: int) -> None:
    """Any 2xx is success, whatever the body."""
    receiver.answer(Reply(status, body=b""))

    assert channel(receiver.url).send(NOTICE).delivered


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(302, {"location": "http://169.254.169.254/"}), {"status": 302}),
        (Reply(400), {"status": 400}),
        (Reply(401), {"status": 401}),
        (Reply(404), {"status": 404}),
        (Reply(410), {"status": 410, "gone": True}),
        (Reply(429, {"retry-after": "120"}), {"status": 429, "trouble": True, "retry_after": timedelta(minutes=2)}),
        (Reply(429), {"status": 429, "trouble": True}),
        (Reply(500), {"status": 500, "trouble": True}),
        (
            Reply(503, {"retry-after": "Mon, 02 Mar 2026 09:10:00 GMT"}),
            {"status": 503, "trouble": True, "retry_after": timedelta(minutes=10)},
        ),
        (Reply(503, {"retry-after": "soon"}), {"status": 503, "trouble": True}),
        (Reply(reset=True), {"status": None, "trouble": True}),
    ],
)
def test_everything_else_fails_and_says_what_that_means(
    receiver: Receiver, reply: Reply, expected: dict[str, Any]
) -> None:
    """Each failure says whether to wait, whether the receiver is in trouble, and whether it is gone for good."""
    receiver.answer(reply)

    outcome = channel(receiver.url).send(NOTICE)

    meaning = {"retry_after": None, "gone": False, "trouble": False} | expected
    assert not outcome.delivered
    assert {name: getattr(outcome, name) for name in meaning} == meaning
    assert outcome.error


def test_a_refused_address_is_a_failed_attempt() -> None:
    """An address that must not be reached fails like one that does not answer: what it resolves to may change."""
    outcome = WebhookChannel("https://10.0.0.1/x", [decode_secret(SECRET)], Door(parse_allowance([]))).send(NOTICE)

    assert not outcome.delivered
    assert "not a public address" in outcome.error


@pytest.fixture
def secret_receiver() -> Iterator[Receiver]:
    """A receiver whose address is a secret."""
    with receiving(path=f"/services/{TOKEN}/hook?key={TOKEN}%2Fquery") as running:
        yield running


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, body=f"no such hook: /services/{TOKEN}/hook?key={TOKEN}/query {TOKEN.lower()}".encode()),
        Reply(302, {"location": f"https://other.example/{TOKEN}"}),
        Reply(reset=True),
        Reply(hang=True),
    ],
)
def test_secrets_of_the_address_show_nowhere(
    secret_receiver: Receiver, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither errors nor logs nor reprs hold the path, the query or the signing secret, also where the receiver repeats them."""
    caplog.set_level(logging.DEBUG)
    secret_receiver.answer(reply)
    hook = channel(secret_receiver.url, timeout_s=0.5)

    outcome = hook.send(NOTICE)

    seen = f"{outcome} {hook!r} {hook.endpoint} {caplog.text}".lower()
    assert TOKEN.lower() not in seen
    assert SECRET.removeprefix("whsec_").lower() not in seen


def test_what_the_receiver_says_is_kept_on_one_short_line(receiver: Receiver) -> None:
    """Control characters, line ends and length of an answer do not reach the outbox."""
    receiver.answer(Reply(400, body=b"bad\r\n\x1b[31m\x00 field " + b"x" * 5_000))

    error = channel(receiver.url).send(NOTICE).error

    assert error.startswith("The receiver answered 400: bad [31m field xxx")
    assert error.isprintable()
    assert len(error) < 300
