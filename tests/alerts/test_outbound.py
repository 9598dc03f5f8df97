"""The one door to the outside, against real sockets."""

import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from controltower.alerts.addresses import parse_allowance
from controltower.alerts.errors import OutboundError, RefusedAddressError
from controltower.alerts.outbound import BODY_LIMIT, Answer, Door
from tests.alerts.receiver import Receiver, Reply, receiving
from tests.conftest import missing

LOCAL = parse_allowance(["127.0.0.1"])
NAME = "hooks.example.test"


def post(url: str, door: Door | None = None) -> Answer:
    """Post a small body."""
    return (door or Door(LOCAL)).post(url, {"content-type": "application/json", "x-mark": "1"}, b'{"a":1}')


def answering(*answers: str) -> "Resolver":
    """Return a resolver that gives *answers*."""
    return Resolver(answers)


class Resolver:
    """A name service with one answer for everything, which counts how often it is asked."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """Answer, whatever is asked."""
        self.asked.append(host)
        return self.answers


def test_a_request_arrives_as_it_was_made(receiver: Receiver) -> None:
    """Path, query, headers and body arrive unchanged, under the name in the URL and without compression."""
    answer = post(f"{receiver.url}?token=t%2Fx&b")

    request = receiver.received[0]
    assert answer == Answer(200, "", "")
    assert (request.path, request.body) == ("/hook?token=t%2Fx&b", b'{"a":1}')
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["x-mark"] == "1"
    assert request.headers["user-agent"].startswith("controltower/")
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    """A redirect is an answer like any other: nothing is asked of where it points to."""
    receiver.answer(Reply(status, {"location": f"{receiver.url}/other"}))

    assert post(receiver.url).status == status
    assert len(receiver.received) == 1


def test_the_answer_is_read_to_its_limit_and_no_further(receiver: Receiver) -> None:
    """Of a large answer the start is kept; one that never ends takes a bounded time."""
    receiver.answer(Reply(500, body=b"x" * 1_000_000), Reply(500, body=b"start", trickle=True))

    large = post(receiver.url)
    started = time.monotonic()
    endless = post(receiver.url)

    assert large.excerpt == "x" * BODY_LIMIT
    assert endless.excerpt.startswith("start")
    assert time.monotonic() - started < 10


def test_a_receiver_that_hangs_costs_one_timeout(receiver: Receiver) -> None:
    """An attempt ends after its time, whatever the receiver does."""
    receiver.answer(Reply(hang=True))

    started = time.monotonic()
    with pytest.raises(OutboundError, match="no answer"):
        post(receiver.url, Door(LOCAL, timeout_s=0.3))

    assert time.monotonic() - started < 5


def test_a_name_service_that_hangs_costs_one_timeout() -> None:
    """A look-up that cannot be cancelled is left behind."""
    gate = threading.Event()

    def hang(host: str, port: int) -> Sequence[str]:
        gate.wait(30)
        return ["8.8.8.8"]

    started = time.monotonic()
    try:
        with pytest.raises(OutboundError):
            post(f"https://{NAME}/", Door(LOCAL, resolve=hang, timeout_s=0.2))
        assert time.monotonic() - started < 5
    finally:
        gate.set()


def test_a_connection_that_is_torn_down_is_a_failure_in_words(receiver: Receiver) -> None:
    """A reset, and a port where nobody listens, give one sentence without the path."""
    receiver.answer(Reply(reset=True))
    with pytest.raises(OutboundError) as torn:
        post(receiver.url)
    with receiving() as gone:
        nobody = gone.url
    with pytest.raises(OutboundError) as refused:
        post(nobody)

    assert "Connection refused" in str(refused.value)
    for error in (torn, refused):
        assert str(error.value).startswith("http://127.0.0.1:")
        assert "cannot be reached" in str(error.value)
        assert "/hook" not in str(error.value)


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["169.254.169.254"], []])
def test_a_name_that_leads_inside_is_not_connected_to(receiver: Receiver, answers: list[str]) -> None:
    """A public-looking name with an inner address among its answers is refused before any connection."""
    door = Door(parse_allowance(["other.example"]), resolve=answering(*answers))

    with pytest.raises(RefusedAddressError):
        post(f"https://{NAME}/", door)

    assert receiver.received == []


def test_the_connection_goes_to_the_address_that_was_vetted(receiver: Receiver) -> None:
    """A name is resolved once per request, and that answer is where the connection goes."""
    resolver = answering("127.0.0.1")
    door = Door(parse_allowance([f"{NAME}:{receiver.port}"]), resolve=resolver)

    answer = post(f"http://{NAME}:{receiver.port}/hook", door)

    assert answer.status == 200
    assert resolver.asked == [NAME]
    assert receiver.received[0].headers["host"] == f"{NAME}:{receiver.port}"


def test_the_next_address_is_tried_where_one_does_not_answer(receiver: Receiver) -> None:
    """A dead address among several does not lose the notification."""
    door = Door(parse_allowance([NAME]), resolve=answering("127.0.0.2", "127.0.0.1"))

    assert post(f"http://{NAME}:{receiver.port}/hook", door).status == 200


def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect to addresses that nobody vetted."""
    with receiving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)

        assert post(receiver.url).status == 200
        assert proxy.received == []


def test_check_resolves_without_connecting(receiver: Receiver) -> None:
    """What ``doctor`` asks: the address is good, or the reason why not."""
    good = Door(parse_allowance([NAME]), resolve=answering("127.0.0.1"))
    bad = Door(parse_allowance([]), resolve=answering("10.0.0.1"))

    assert str(good.check(f"http://{NAME}:{receiver.port}/hook")) == f"http://{NAME}:{receiver.port}/…"
    with pytest.raises(RefusedAddressError, match=r"resolves to 10\.0\.0\.1"):
        bad.check(f"https://{NAME}/hook")
    assert receiver.received == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for ``NAME`` and its key."""
    if shutil.which("openssl") is None:
        missing("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    files = ["-keyout", os.fspath(key), "-out", os.fspath(certificate)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def tls_receiver(certificate: tuple[Path, Path]) -> Iterator[Receiver]:
    """A receiver that speaks TLS under ``NAME``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with receiving(context) as running:
        yield running


def test_the_certificate_is_that_of_the_name_not_of_the_address(
    tls_receiver: Receiver, certificate: tuple[Path, Path]
) -> None:
    """With the connection pinned to an address, TLS still asks for and checks the name in the URL."""
    trusting = ssl.create_default_context(cafile=os.fspath(certificate[0]))
    allow = parse_allowance([NAME, "other.example.test"])
    door = Door(allow, resolve=answering("127.0.0.1"), tls=trusting)

    assert post(f"https://{NAME}:{tls_receiver.port}/hook", door).status == 200
    with pytest.raises(OutboundError, match="certificate"):
        post(f"https://other.example.test:{tls_receiver.port}/hook", door)


def test_an_unknown_certificate_is_refused(tls_receiver: Receiver) -> None:
    """A receiver whose certificate nobody vouches for gets nothing."""
    door = Door(parse_allowance([NAME]), resolve=answering("127.0.0.1"))

    with pytest.raises(OutboundError, match="certificate"):
        post(f"https://{NAME}:{tls_receiver.port}/hook", door)

    assert tls_receiver.received == []
