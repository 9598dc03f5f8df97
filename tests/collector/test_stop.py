"""Stopping under load."""

import http.client
import threading
from pathlib import Path

from tests.collector.requests import PATIENCE_S, PROTOBUF, Tower, request_of, running, span

CLIENTS = 8


def send_until_stopped(tower: Tower, first: int, acknowledged: list[int], enough: threading.Semaphore) -> None:
    headers = {"Content-Type": PROTOBUF, "Authorization": f"Bearer {tower.token}"}
    connection = http.client.HTTPConnection(tower.host, tower.port, timeout=PATIENCE_S)
    number = first
    while True:
        try:
            connection.request("POST", "/v1/traces", request_of(span(number)), headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return
        assert response.status == 200
        acknowledged.append(number)
        enough.release()
        number += 1


def test_stopping_under_load_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """Requests under way are finished, new ones are not taken, and every acknowledged span is in the journal once."""
    acknowledged: list[list[int]] = [[] for _ in range(CLIENTS)]
    enough = threading.Semaphore(0)
    with running(tmp_path) as tower:
        clients = [
            threading.Thread(
                target=send_until_stopped, args=[tower, (number + 1) * 10**6, acknowledged[number], enough]
            )
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for _ in range(200):
            assert enough.acquire(timeout=PATIENCE_S)
        tower.server.should_exit = True
        tower.thread.join(PATIENCE_S)
        names = tower.stored_spans()
    for client in clients:
        client.join(PATIENCE_S)

    wanted = {f"span {number}" for numbers in acknowledged for number in numbers}
    assert wanted <= set(names)
    assert len(names) == len(set(names))
