"""Patient data sent to the product as it runs: nothing of it is in a table, a file, a listing, a page or an answer (F70)."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import grpc
import httpx
import pytest

from tests.clickhouse_server import ClickHouseServer
from tests.collector.calls import OPTIONS, Caller, Code, Ended
from tests.collector.redaction.canaries import (
    CANARIES,
    REQUESTS,
    everywhere,
    hits,
    timed,
    without_what_no_pattern_finds,
)
from tests.collector.redaction.test_nothing_in_clear import broken
from tests.collector.requests import PROTOBUF
from tests.processes import Tower, tower, until

pytestmark = pytest.mark.slow

# Of a source that is not phi, what no word beside it and no form tells: see the limits in docs/redaction.md.
NAMELESS: Final = {text for name, text in CANARIES.items() if name[0] not in "APQR"}
NOW_NS: Final = time.time_ns()  # what is older than a year and a month is removed from the tables
LONG_AGO_NS: Final = 1
KEYS: Final = {
    "CONTROLTOWER_COLLECTOR_JOURNAL_KEY": base64.b64encode(b"j" * 32).decode(),
    "CONTROLTOWER_REDACTION_KEY": f"1:{base64.b64encode(b'k' * 32).decode()}",
}
# Names of what becomes tokens; a number under the name of a purchase order is one, and stays.
KNOWN: Final = ("controltower.key.claim_pcn", "controltower.context.patient")


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def here(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Iterator[Tower]:
    """A running product with its temporary files below the test's folder, its journal encrypted at rest."""
    (tmp_path / "temporary").mkdir()
    environment = {**KEYS, "TMPDIR": str(tmp_path / "temporary")}
    address = None
    if request.param == "server":
        server: ClickHouseServer = request.getfixturevalue("clickhouse_server")
        address = server.address(database)
    with tower(tmp_path / "data", address, environment) as running:
        running.serve()
        yield running


def requests_of(signal: str, *, phi: bool) -> Iterator[bytes]:
    """Yield requests with every canary in every field: with times that can be, and with others, for the quarantine."""
    whole = REQUESTS[signal]()
    for canary in CANARIES.values() if phi else sorted(NAMELESS):
        request = everywhere(signal, canary, KNOWN)
        if not phi:
            without_what_no_pattern_finds(request, canary)
        whole.MergeFrom(request)
    for at_ns in (NOW_NS, LONG_AGO_NS):
        timed(whole, at_ns)
        yield whole.SerializeToString()


def tokens(running: Tower, transport: str) -> dict[bool, str]:
    """Make a token of class phi, and one that is not."""
    return {
        True: running.run("token", "create", f"clinic-{transport}", "--phi").strip(),
        False: running.run("token", "create", f"erp-{transport}").strip(),
    }


def post(running: Tower, signal: str, token: str, body: bytes, kind: str = PROTOBUF) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}", "content-type": kind}
    return httpx.post(f"{running.runtime.collector}/v1/{signal}", content=body, headers=headers, timeout=60)


def test_nothing_of_a_patient_gets_through(here: Tower, tmp_path: Path) -> None:
    """Over both transports, phi tokens and others send every canary in every field of every signal; 0 hits anywhere."""
    answers: list[httpx.Response] = []
    for phi, token in tokens(here, "http").items():
        for signal in REQUESTS:
            for body in requests_of(signal, phi=phi):
                answers.append(post(here, signal, token, body))
                assert answers[-1].status_code == 200
            refused = [post(here, signal, token, body, kind) for body, kind in broken(signal)]
            assert {answer.status_code for answer in refused} == {400}
            answers += refused
    calls: list[Ended] = []
    for phi, token in tokens(here, "grpc").items():  # of their own: the same body of the same token is not stored again
        with closing(grpc.insecure_channel(here.runtime.grpc, OPTIONS)) as channel:
            caller = Caller(channel, token)
            for signal in REQUESTS:
                taken = [caller.call(body, signal) for body in requests_of(signal, phi=phi)]
                assert {call.code for call in taken} == {Code.OK}
                bad = [caller.call(body, signal) for body, kind in broken(signal) if kind == PROTOBUF]
                assert {call.code for call in bad} == {Code.INVALID_ARGUMENT}
                calls += [*taken, *bad]
    until(lambda: here.get("/readyz")["lag_s"] == 0, "everything is loaded")
    items = json.loads(here.run("quarantine", "list", "--json"))["quarantine"]
    said = [json.dumps(items), here.run("quarantine", "list")]
    said += [here.run("quarantine", "show", item["id"]) for item in {item["signal"]: item for item in items}.values()]
    said += [httpx.get(f"{here.runtime.collector}/{page}").text for page in ("metrics", "readyz", "healthz")]
    found = dict(here.tables())
    if here.store is None:  # a server's backups lie in its own folder
        here.run("backup", "monday")
    here.end()

    assert {item["signal"] for item in items} == set(REQUESTS)
    filled = {name for name, rows in found.items() if rows}
    assert filled >= {
        "otel_traces",
        "otel_logs",
        "otel_metrics_gauge",
        "span_keys",
        "redactions",
        "otel_traces_quarantine",
    }
    assert {name: where for name, rows in found.items() if (where := hits(rows.encode()))} == {}
    assert [text for answer in answers if hits((text := f"{answer.text}{answer.headers}").encode())] == []
    assert [call for call in calls if hits(repr(call).encode())] == []
    assert [text for text in said if hits(text.encode())] == []
    assert [str(path) for path in tmp_path.rglob("*") if hits(str(path).encode())] == []
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file() and hits(path.read_bytes())] == []
