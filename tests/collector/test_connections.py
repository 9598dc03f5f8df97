"""Slow and idle clients: each is cut off in time, and none of them costs another client its answer."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import grpc
import pytest

from controltower.collector.room import LARGE_BYTES, Claim, Room
from controltower.collector.settings import Settings
from tests.collector.calls import EXPORTS, Caller, Ended, calling, ended
from tests.collector.requests import PATIENCE_S, Answer, Tower, request_of, running, span
from tests.collector.test_conformance_grpc import HeldDisk

SOON_S = 0.2
HEAD = b"GET /healthz HTTP/1.1\r\nHost: tests\r\n"
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # of HTTP/2, with empty settings
MIB = 1024 * 1024


def connect(tower: Tower, *, grpc_side: bool = False) -> socket.socket:
    """Open a connection and say nothing."""
    address = tower.grpc.rpartition(":")[2] if grpc_side else tower.port
    return socket.create_connection((tower.host, int(address)), timeout=PATIENCE_S)


def read_to_end(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    pieces = []
    try:
        while piece := connection.recv(65_536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def read_answer(connection: socket.socket) -> bytes:
    """Return one short answer."""
    answer = b""
    while b"}" not in answer:
        piece = connection.recv(65_536)
        assert piece
        answer += piece
    return answer


def ask_for_ever(connection: socket.socket) -> None:
    """Send requests and read no answer."""
    while True:
        connection.sendall((HEAD + b"\r\n") * 100)


def refusals(tower: Tower) -> object:
    """Return what was refused or cut, by reason."""
    return tower.metrics.snapshot()["refusals"]


@pytest.mark.parametrize("said", [b"", b"G", HEAD])
def test_headers_that_do_not_come_cut_the_connection(said: bytes, tmp_path: Path) -> None:
    """A client that says nothing, or never ends its headers, is cut after the header timeout."""
    with running(tmp_path, Settings(port=0, header_timeout_s=SOON_S)) as tower, connect(tower) as slow:
        slow.sendall(said)

        assert read_to_end(slow) == b""
        assert refusals(tower) == {"slow_headers": 1}


def test_the_next_headers_have_the_same_time(tmp_path: Path) -> None:
    """Having been answered before gives nobody more time for a head that was begun."""
    with running(tmp_path, Settings(port=0, header_timeout_s=SOON_S)) as tower, connect(tower) as slow:
        slow.sendall(HEAD + b"\r\n")
        answer = read_answer(slow)
        slow.sendall(HEAD)

        assert answer.startswith(b"HTTP/1.1 200")
        assert read_to_end(slow) == b""
        assert refusals(tower) == {"slow_headers": 1}


def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    """A connection without a request is closed after the idle timeout, which is nobody's fault."""
    with running(tmp_path, Settings(port=0, idle_timeout_s=SOON_S)) as tower, connect(tower) as idle:
        idle.sendall(HEAD + b"\r\n")
        answer = read_answer(idle)

        assert answer.startswith(b"HTTP/1.1 200")
        assert read_to_end(idle) == b""
        assert refusals(tower) == {}


def test_the_rest_of_a_refused_body_keeps_no_connection_open(tmp_path: Path) -> None:
    """A client that was answered and drips on with its body is cut like one that is idle."""
    with running(tmp_path, Settings(port=0, idle_timeout_s=SOON_S)) as tower, connect(tower) as slow:
        slow.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: tests\r\nContent-Length: 1000\r\n\r\n123")

        assert read_to_end(slow).startswith(b"HTTP/1.1 401")


def test_a_slow_body_is_told_to_come_back(tmp_path: Path) -> None:
    """A body that does not come is 503 after the body timeout, and what it held is free again."""
    settings = Settings(port=0, body_timeout_s=SOON_S, idle_timeout_s=SOON_S, in_flight_bytes=1_000)
    with running(tmp_path, settings) as tower, connect(tower) as slow:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: tests\r\nAuthorization: Bearer {tower.token}\r\n"
        slow.sendall(f"{head}Content-Type: application/x-protobuf\r\nContent-Length: 999\r\n\r\n123".encode())
        answer = read_to_end(slow)

        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 2" in answer.lower()
        assert refusals(tower) == {"slow_client": 1}
        assert tower.send(request_of(span(1))).status == 200


def test_a_client_that_does_not_read_is_cut(tmp_path: Path) -> None:
    """Answers that nobody reads pile up to a limit, and after the write timeout the connection is gone."""
    with running(tmp_path, Settings(port=0, write_timeout_s=SOON_S)) as tower:
        assert tower.listening is not None
        tower.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)  # accepted ones have the same
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            deaf.settimeout(PATIENCE_S)
            deaf.connect((tower.host, tower.port))
            with pytest.raises(OSError, match=r"reset|Broken"):
                ask_for_ever(deaf)

        assert refusals(tower) == {"slow_reader": 1}


def test_thousands_of_idle_connections_cost_nobody_an_answer(tmp_path: Path) -> None:
    """Beyond the limit those are cut that never made a request, longest first; every healthy request is answered."""
    with running(tmp_path, Settings(port=0, connections=200)) as tower, ExitStack() as opened:
        kept = opened.enter_context(connect(tower))
        kept.sendall(HEAD + b"\r\n")
        answers = [read_answer(kept)]
        idle = []
        for number in range(2_000):
            idle.append(opened.enter_context(connect(tower)))
            if number % 200 == 199:
                assert tower.send(request_of(span(number))).status == 200
                kept.sendall(HEAD + b"\r\n")
                answers.append(read_answer(kept))

        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        assert read_to_end(idle[0]) == b""
        assert len(tower.stored_spans()) == 10
        cut = tower.metrics.snapshot()["refusals"]
        assert isinstance(cut, dict)
        assert 1_800 <= cut["connections"] <= 1_900


def test_where_every_connection_works_a_new_one_is_told_to_come_back(tmp_path: Path) -> None:
    """No request is cut for another one: the newcomer gets 503 and the others their answer."""
    disk = HeldDisk()
    with running(tmp_path, Settings(port=0, connections=2), disk=disk) as tower, ThreadPoolExecutor(2) as pool:

        def taken(number: int) -> Answer:
            """Send until it is taken: the one that looks whether both are may have been quicker."""
            while (sent := tower.send(request_of(span(number)))).status == 503:
                pass
            return sent

        busy = [pool.submit(taken, number) for number in (1, 2)]
        assert disk.reached.wait(PATIENCE_S)
        while tower.send(path="/healthz", method="GET").status != 503:
            pass
        with connect(tower) as late:
            answer = read_to_end(late)
        disk.let_go.set()

        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 2" in answer
        assert [sent.result(PATIENCE_S).status for sent in busy] == [200, 200]


@pytest.mark.parametrize("said", [b"", GREETING])
def test_idle_connections_of_grpc_are_closed(said: bytes, tmp_path: Path) -> None:
    """A client that never greets is cut after the header timeout, one that makes no call after the idle timeout."""
    settings = Settings(port=0, header_timeout_s=SOON_S, idle_timeout_s=SOON_S)
    with running(tmp_path, settings, grpc=True) as tower, connect(tower, grpc_side=True) as idle:
        idle.sendall(said)
        read_to_end(idle)


def test_idle_connections_of_grpc_cost_nobody_an_answer(tmp_path: Path) -> None:
    """With a thousand idle connections, calls on old and on new channels are answered."""
    with running(tmp_path, grpc=True) as tower, calling(tower) as old, ExitStack() as opened:
        codes = [old.call(request_of(span(1))).code]
        for _ in range(1_000):
            opened.enter_context(connect(tower, grpc_side=True)).sendall(GREETING)
        codes.append(old.call(request_of(span(2))).code)
        with calling(tower) as new:
            codes.append(new.call(request_of(span(3))).code)

        assert codes == [grpc.StatusCode.OK] * 3


def silent_call(caller: Caller, done: threading.Event) -> Ended:
    """Make a call whose message never comes, and return how it ended."""

    def no_message() -> Iterator[bytes]:
        done.wait(PATIENCE_S)
        yield from ()

    method = caller.channel.stream_unary(EXPORTS["traces"])
    with pytest.raises(grpc.RpcError) as raised:
        method(no_message(), timeout=PATIENCE_S, metadata=caller.metadata())
    return ended(raised.value)


def test_a_message_that_does_not_come_is_told_to_come_back(tmp_path: Path) -> None:
    """A call without its message ends UNAVAILABLE after the body timeout."""
    done = threading.Event()
    with running(tmp_path, Settings(port=0, body_timeout_s=SOON_S), grpc=True) as tower, calling(tower) as caller:
        outcome = silent_call(caller, done)
        done.set()

        assert (outcome.code, outcome.retries_after_s) == (grpc.StatusCode.UNAVAILABLE, 2)
        assert refusals(tower) == {"slow_client": 1}


def test_slow_messages_leave_room_for_others(tmp_path: Path) -> None:
    """Of twelve calls whose messages do not come, three may go on waiting, and healthy requests are taken meanwhile."""
    done = threading.Event()
    settings = Settings(port=0, body_bytes=4 * MIB, in_flight_bytes=16 * MIB, body_timeout_s=PATIENCE_S)
    with running(tmp_path, settings, grpc=True) as tower, calling(tower) as slow, ThreadPoolExecutor(12) as pool:
        silent = [pool.submit(silent_call, slow, done) for _ in range(12)]
        refused = [one.result() for one in islice(as_completed(silent, PATIENCE_S), 9)]
        with calling(tower) as healthy:
            codes = [healthy.call(request_of(span(number))).code for number in range(1, 20)]
        sent = tower.send(request_of(span(99))).status
        waiting = sum(not one.done() for one in silent)
        done.set()

        assert codes == [grpc.StatusCode.OK] * 19
        assert sent == 200
        assert waiting == 3
        assert [(one.code, one.retries_after_s) for one in refused] == [(grpc.StatusCode.UNAVAILABLE, 2)] * 9


def test_large_bodies_leave_a_quarter_of_the_room_to_others() -> None:
    """Above a mebibyte, bodies take three quarters together; small ones take what is left; the largest legal one fits."""
    room = Room(8 * LARGE_BYTES)
    large = [room.claim(2 * LARGE_BYTES) for _ in range(4)]
    small = [room.claim(LARGE_BYTES // 2) for _ in range(5)]

    assert [isinstance(claim, Claim) for claim in large] == [True, True, True, False]
    assert [isinstance(claim, Claim) for claim in small] == [True] * 4 + [False]
    assert isinstance(Room(LARGE_BYTES * 4).claim(LARGE_BYTES * 4), Claim)
