"""Hostile requests over both transports: refused for good, and cheap in memory; measured in a process of its own."""

import gzip
import http.client
import resource
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from controltower.tracer.journal.records import varint
from tests.collector.calls import OPTIONS, Caller, Code, Ended
from tests.collector.conforming import JSON, json_request, new_request
from tests.collector.requests import PATIENCE_S, PROTOBUF
from tests.conftest import missing

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
LIMIT = 64 * MIB
GROWTH = 200 * MIB


@dataclass
class Process:
    """A running collector."""

    pid: int
    port: int
    grpc: str
    token: str

    def post(self, body: bytes, **headers: str) -> int:
        """Send *body* over HTTP and return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        usual = {"Content-Type": PROTOBUF, "Authorization": f"Bearer {self.token}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request("POST", "/v1/traces", body, usual | named)
            return connection.getresponse().status
        except (BrokenPipeError, ConnectionResetError):  # refused and closed while it was being sent
            return connection.getresponse().status
        finally:
            connection.close()

    def rss_bytes(self, which: str = "VmRSS") -> int:
        """Return the memory that is held, or that was held at most since the last ``forget``."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{which}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(which)

    def forget(self) -> int:
        """Measure the peak from here on, and return what is held now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="utf-8")
        return self.rss_bytes()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A collector with default limits."""
    words = [sys.executable, "-m", "tests.collector.taking_process", str(tmp_path_factory.mktemp("collector"))]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(words, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        port, address, token = running.stdout.readline().split()
        yield Process(running.pid, int(port), address, token)
        assert running.stdin is not None
        running.stdin.close()


@pytest.fixture
def caller(process: Process) -> Iterator[Caller]:
    """A channel to the collector."""
    with closing(grpc.insecure_channel(process.grpc, OPTIONS)) as channel:
        yield Caller(channel, process.token)


def nested(tags: bytes, innermost: bytes) -> bytes:
    """Return *innermost* inside messages of the given tags, outermost first."""
    body = innermost
    for tag in reversed(tags):
        body = bytes([tag]) + varint(len(body)) + body
    return body


def filled(tags: bytes, piece: bytes) -> bytes:
    """Return a legal request of nearly the largest size, of nothing but *piece* inside messages of the given tags."""
    return nested(tags, piece * ((LIMIT - 64) // len(piece)))


# resource_spans 1, scope_spans 2, spans 2; of a span: attributes 9, events 11, links 13; all length-delimited.
SPANS = filled(b"\x0a\x12", b"\x12\x00")
BOMBS = {
    "empty spans": SPANS,
    "empty attributes": filled(b"\x0a\x12\x12", b"\x4a\x00"),
    "empty events": filled(b"\x0a\x12\x12", b"\x5a\x00"),
    "empty links": filled(b"\x0a\x12\x12", b"\x6a\x00"),
}


def refused(outcome: Ended) -> bool:
    """Whether a call was refused for good: no client tries again."""
    return outcome.code is Code.RESOURCE_EXHAUSTED and outcome.retries_after_s is None


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("compressed", [False, True])
def test_f27_a_bomb_of_empty_messages(name: str, compressed: bool, process: Process, caller: Caller) -> None:
    """33 million empty messages, as they are or in 63 kB of gzip: refused, and never in memory as objects."""
    held = process.forget()
    outcome = caller.call(gzip.compress(BOMBS[name], 1) if compressed else BOMBS[name])

    assert refused(outcome)
    assert process.rss_bytes("VmHWM") - held < GROWTH


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_f26_a_bomb_of_zeros(pack: Callable[[bytes, int], bytes], process: Process, caller: Caller) -> None:
    """256 MiB in 256 kB: decompression stops long before its end."""
    held = process.forget()
    outcome = caller.call(pack(bytes(256 * MIB), 1))

    assert refused(outcome)
    assert process.rss_bytes("VmHWM") - held < GROWTH


def test_o87_an_oversize_message_is_refused_by_its_prefix(process: Process, caller: Caller) -> None:
    """What declares more than the limit is refused without being read."""
    held = process.forget()
    outcome = caller.call(bytes(200 * MIB))

    assert refused(outcome)
    assert process.rss_bytes("VmHWM") - held < LIMIT


def test_f33_many_of_the_largest_messages_at_once(process: Process) -> None:
    """Of 24 of the largest legal messages at once some are told to come back, and memory stays far below their size.

    The library needs a message three times while it hands it over; all of them would be 4.5 GiB.
    """
    held = process.forget()

    def send(_: int) -> Ended:
        with closing(grpc.insecure_channel(process.grpc, OPTIONS)) as channel:
            return Caller(channel, process.token).call(SPANS)

    with ThreadPoolExecutor(24) as pool:
        outcomes = list(pool.map(send, range(24)))

    assert {one.code for one in outcomes} <= {Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE}
    assert all(refused(one) or one.retries_after_s == 2 for one in outcomes)
    assert process.rss_bytes("VmHWM") - held < 1_200 * MIB


def test_f33_many_of_the_largest_legal_messages_at_once(process: Process) -> None:
    """Of 40 calls with 30 MiB that can be stored some are taken and the others told to come back, and memory is bounded."""
    body = new_request(90_000) + b"\xc2\x3e" + varint(30 * MIB) + bytes(30 * MIB)
    held = process.forget()

    def send(_: int) -> Ended:
        with closing(grpc.insecure_channel(process.grpc, OPTIONS)) as channel:
            return Caller(channel, process.token).call(body)

    with ThreadPoolExecutor(40) as pool:
        outcomes = list(pool.map(send, range(40)))

    assert {one.code for one in outcomes} <= {Code.OK, Code.UNAVAILABLE}
    assert Code.OK in {one.code for one in outcomes}
    assert all(one.retries_after_s == 2 for one in outcomes if one.code is Code.UNAVAILABLE)
    assert send(0).code is Code.OK
    assert process.rss_bytes("VmHWM") - held < 1_200 * MIB


def test_f29_ten_thousand_idle_connections_cost_nobody_an_answer(process: Process) -> None:
    """Of 10,000 that say nothing, over each transport, those beyond the limit are cut or not taken; clients are answered."""
    number = 10_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < number + 1_000:
        missing(f"{most} open files are allowed, and the test needs {number + 1_000:,}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    host, _, port = process.grpc.rpartition(":")
    for address in (("127.0.0.1", process.port), (host, int(port))):
        held = process.forget()
        with ExitStack() as opened:
            old = Caller(opened.enter_context(grpc.insecure_channel(process.grpc, OPTIONS)), process.token)
            assert old.call(new_request()).code is Code.OK
            for opening in range(number):
                opened.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
                if opening % 1_000 == 999:
                    assert process.post(new_request()) == 200
            with closing(grpc.insecure_channel(process.grpc, OPTIONS)) as channel:
                new = Caller(channel, process.token).call(new_request())
            assert old.call(new_request()).code is Code.OK
            assert new.code is (Code.OK if address[1] == process.port else Code.UNAVAILABLE)  # it comes back
            assert process.rss_bytes("VmHWM") - held < 300 * MIB
    with closing(grpc.insecure_channel(process.grpc, OPTIONS)) as channel:
        assert Caller(channel, process.token).call(new_request()).code is Code.OK


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("compressed", [False, True])
def test_f27_a_bomb_of_empty_messages_over_http(name: str, compressed: bool, process: Process) -> None:
    """The same, and 413."""
    held = process.forget()
    if compressed:
        status = process.post(gzip.compress(BOMBS[name], 1), Content_Encoding="gzip")
    else:
        status = process.post(BOMBS[name])

    assert status == 413
    assert process.rss_bytes("VmHWM") - held < GROWTH


@pytest.mark.parametrize("bomb", [b"{},", b"[],", b"0,", b'{"a":{}},'])
def test_f27_a_bomb_of_empty_values_in_json(bomb: bytes, process: Process) -> None:
    """Twenty million of them are never made, and as many as are allowed cost little."""
    most = 2_700_000 // (3 * bomb.count(b"{") + 2 * bomb.count(b"[") + 1)
    held = process.forget()
    statuses = [process.post(b'{"x":[' + bomb * number + b"{}]}", Content_Type=JSON) for number in (LIMIT // 16, most)]

    assert statuses == [413, 200]
    assert process.rss_bytes("VmHWM") - held < GROWTH * 3 // 2


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_f25_a_bomb_of_zeros_over_http(coding: str, pack: Callable[[bytes, int], bytes], process: Process) -> None:
    """1 GiB in a megabyte, and gzip in gzip: decompression stops long before its end."""
    zeros = pack(bytes(256 * MIB), 1)
    bomb = zeros * 4 if coding == "gzip" else zeros
    held = process.forget()
    statuses = [process.post(body, Content_Encoding=coding) for body in (bomb, pack(bomb, 1))]

    assert statuses[0] == 413
    assert statuses[1] in (400, 413)  # what is inside of it is no request
    assert process.rss_bytes("VmHWM") - held < 100 * MIB


def test_f33_many_of_the_largest_bodies_at_once_over_http(process: Process) -> None:
    """Of 40 at once most are told to come back before they are read; memory stays below the bodies that are taken."""
    body = new_request(90_000) + b"\xc2\x3e" + varint(30 * MIB) + bytes(30 * MIB)
    held = process.forget()
    with ThreadPoolExecutor(40) as pool:
        statuses = list(pool.map(lambda _: process.post(body), range(40)))

    assert set(statuses) <= {200, 503}
    assert process.post(json_request([{}]), Content_Type=JSON) == 200
    assert process.rss_bytes("VmHWM") - held < 900 * MIB
