"""What a token may send, over real sockets."""

from pathlib import Path

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from controltower.collector.settings import Settings
from controltower.collector.sources import speaks_for
from controltower.collector.token_file import create_token
from tests.collector.requests import Tower, request_of, running, span

# Not an address of loopback, and none that anything else can reach, so that what holds beyond it can be tried.
BEYOND = Settings(host="0.0.0.0", port=0, insecure=True)


def of_source(name: str, number: int) -> bytes:
    """Return a request of one span of the service *name*."""
    request = request_of(span(number))
    resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value=name))])
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    parsed = ExportTraceServiceRequest.FromString(request)
    parsed.resource_spans[0].resource.CopyFrom(resource)
    return bytes(parsed.SerializeToString())


def test_another_signal_is_refused_before_the_body(tower: Tower, tmp_path: Path) -> None:
    """403 for good, and the sender is told which signal it is."""
    token = create_token(tmp_path / "tokens.json", "traces-only", signals=frozenset({"traces"}))
    traces = tower.send(request_of(span(1)), authorization=f"Bearer {token}")
    logs = tower.send(b"not even read", path="/v1/logs", authorization=f"Bearer {token}")

    assert (traces.status, logs.status) == (200, 403)
    assert logs.refusal.code == 7
    assert logs.refusal.message == "This token may not send logs."


def test_another_source_is_left_out(tower: Tower, tmp_path: Path) -> None:
    """A request of foreign sources only is refused; of a mixed one the rest is stored, and the sender is told why."""
    token = create_token(tmp_path / "tokens.json", "erp", sources=frozenset({"erp-*", "edi"}))
    headers = {"authorization": f"Bearer {token}"}
    own = tower.send(of_source("erp-orders", 1) + of_source("edi", 2), **headers)
    foreign = tower.send(of_source("payroll", 3), **headers)
    mixed = tower.send(of_source("payroll", 4) + of_source("erp-", 5), **headers)

    assert (own.status, foreign.status, mixed.status) == (200, 403, 200)
    assert mixed.response.partial_success.rejected_spans == 1
    assert "service.name" in mixed.response.partial_success.error_message
    assert len(tower.stored_spans()) == 3


@pytest.mark.parametrize(
    ("sources", "name", "allowed"),
    [
        ({"erp"}, "erp", True),
        ({"erp"}, "erp-1", False),
        ({"erp-*"}, "erp-1", True),
        ({"erp-*"}, "erp", False),
        ({"*"}, "", True),
        ({"erp"}, "", False),
        ({"erp"}, "ERP", False),
    ],
)
def test_which_sources_are_meant(sources: set[str], name: str, allowed: bool) -> None:
    """A name is itself; with * at its end it is every name that begins so."""
    assert speaks_for(frozenset(sources), name) is allowed


def test_metrics_beyond_loopback_need_a_token_for_them(tmp_path: Path) -> None:
    """Who sends may not read them, who reads them may not send, and everybody else may do neither."""
    with running(tmp_path, BEYOND) as tower:
        scraping = create_token(tmp_path / "tokens.json", "prometheus", scrape=True)
        asked = [
            tower.send(path="/metrics", method="GET", content_type=None, authorization=authorization)
            for authorization in (None, f"Bearer {tower.token}", f"Bearer {scraping}")
        ]
        sent = tower.send(request_of(span(1)), authorization=f"Bearer {scraping}")

    assert [answer.status for answer in asked] == [401, 403, 200]
    assert b"controltower_collector_lag_seconds" in asked[2].body
    assert sent.status == 403
