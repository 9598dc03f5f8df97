"""kill -9 of a collector with its store in the middle of load: every acknowledged span is there once."""

import http.client
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from controltower.collector.auth import create_token
from tests.collector.requests import PATIENCE_S, PROTOBUF, request_of, span

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 6
CLIENTS = 4
SPANS = 20  # in a request


class Sender:
    """Clients that send numbered requests, and again what was not answered."""

    def __init__(self, token: str) -> None:
        self._headers = {"Content-Type": PROTOBUF, "Authorization": f"Bearer {token}"}
        self._changed = threading.Condition()
        self._next = 1
        self._unanswered: list[int] = []
        self.acknowledged: set[int] = set()
        self.refused = 0

    def send_until_gone(self, port: int) -> None:
        """Send on one connection after the other until nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        while True:
            number = self._take()
            try:
                first = number * SPANS
                connection.request(
                    "POST", "/v1/traces", request_of(*map(span, range(first, first + SPANS))), self._headers
                )
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                with self._changed:
                    self._unanswered.append(number)
                return
            if response.status != 200:
                with self._changed:
                    self.refused += 1
                    self._unanswered.append(number)
                continue
            with self._changed:
                self.acknowledged.add(number)
                self._changed.notify_all()

    def _take(self) -> int:
        with self._changed:
            if self._unanswered:
                return self._unanswered.pop()
            self._next += 1
            return self._next - 1

    def wait_for(self, more: int) -> None:
        """Wait until so many more requests were acknowledged."""
        with self._changed:
            wanted = len(self.acknowledged) + more
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= wanted, PATIENCE_S)


def start(folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.collector.collecting_process", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


def port_of(process: "subprocess.Popen[bytes]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.slow
def test_kill_in_the_middle_of_load(tmp_path: Path) -> None:
    """Acknowledged or not, no span is there twice; acknowledged, it is there."""
    sender = Sender(create_token(tmp_path / "tokens.json", "tests"))
    randomness = random.Random(3)
    for _ in range(ROUNDS):
        with start(tmp_path) as process:
            port = port_of(process)
            clients = [threading.Thread(target=sender.send_until_gone, args=[port]) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            sender.wait_for(randomness.randrange(1, 400))
            process.send_signal(signal.SIGKILL)
            for client in clients:
                client.join(PATIENCE_S)
    with start(tmp_path, "--drain") as process:
        port_of(process)
        assert process.stdout is not None
        left, *found = process.stdout.readline().split()

    counts = {int(number): int(count) for number, count in (entry.split(b":") for entry in found)}
    expected = {first * SPANS + n for first in sender.acknowledged for n in range(SPANS)}
    assert sender.refused == 0
    assert left == b"0"
    assert expected <= counts.keys()
    assert set(counts.values()) == {1}
