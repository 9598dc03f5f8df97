"""How sources are doing, as metrics of OTLP: they are in the store beside the spans, under the collector's own names."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from controltower.collector.scrapers.encoding import SCOPE
from controltower.collector.scrapers.worker import Worker

SERVICE: Final = "controltower-scrape"


class Declared(NamedTuple):
    """One metric: its name, unit and meaning, and what to do when it rises."""

    name: str
    unit: str
    meaning: str
    when_it_rises: str


COUNTS: Final = (
    Declared("controltower.scrape.records", "{record}", "records read", ""),
    Declared("controltower.scrape.steps", "{step}", "steps found", ""),
    Declared("controltower.scrape.unmatched", "{record}", "records that no rule fits", "see `scrape check`"),
    Declared(
        "controltower.scrape.rejected", "{record}", "records that cannot become a step", "see the file of rejects"
    ),
    Declared("controltower.scrape.refused", "{span}", "spans that the collector never takes", "see the log"),
)
GAUGES: Final = (
    Declared("controltower.scrape.behind", "By", "bytes that are there and were not read", "is the collector slow?"),
    Declared("controltower.scrape.open", "{step}", "steps that began and did not end yet", "do their ends come?"),
    Declared("controltower.scrape.lag", "s", "time since all that was there had been read", "see `failing`"),
    Declared("controltower.scrape.watermark", "s", "time of the latest record, in seconds since 1970", ""),
    Declared(
        "controltower.scrape.problems",
        "{problem}",
        "files that cannot be read, queues beyond their limits",
        "see `scrape check`",
    ),
    Declared("controltower.scrape.failing", "1", "1 while nothing goes on", "see the log"),
    Declared("controltower.scrape.running", "1", "1 while it is worked on, 0 when it was stopped", ""),
    Declared(
        "controltower.scrape.last_success", "s", "when it was last looked at with success, in seconds since 1970", ""
    ),
    Declared("controltower.scrape.last_record", "s", "when a record was last read, in seconds since 1970", ""),
    Declared(
        "controltower.scrape.last_reject",
        "s",
        "when a record was last rejected, in seconds since 1970",
        "see the file of rejects",
    ),
)
TIMES: Final = frozenset({"last_success", "last_record", "last_reject"})  # of what never happened none is told
LONGEST_REASON: Final = 300

QUEUE: Final = "controltower.queue."
DESTINATION: Final = "messaging.destination.name"
GROUP: Final = "messaging.consumer.group.name"
QUEUES: Final = (
    Declared(f"{QUEUE}depth", "{message}", "messages in a queue, stream or topic", "who reads it?"),
    Declared(f"{QUEUE}lag", "{message}", "messages that a group was not given yet", "is it at work?"),
    Declared(f"{QUEUE}held", "{message}", "messages that were handed out and not acknowledged", "does it get on?"),
    Declared(f"{QUEUE}delayed", "{message}", "messages that are not to be had yet", ""),
    Declared(f"{QUEUE}redelivered", "{message}", "messages held that were handed out before", "what do they fail of?"),
    Declared(f"{QUEUE}oldest", "s", "age of the oldest message that waits", "who sees to it?"),
    Declared(f"{QUEUE}consumers", "{consumer}", "who reads it", ""),
)
QUEUE_COUNTS: Final = (
    Declared(f"{QUEUE}published", "{message}", "messages that came in", ""),
    Declared(f"{QUEUE}delivered", "{message}", "messages that were handed out", ""),
    Declared(f"{QUEUE}acknowledged", "{message}", "messages that were done with", ""),
    Declared(f"{QUEUE}redeliveries", "{message}", "messages that were handed out again", "what do they fail of?"),
    Declared(f"{QUEUE}dropped", "{message}", "messages that the broker threw away", "is a session full?"),
)
ALL: Final = (*COUNTS, *GAUGES, *QUEUES, *QUEUE_COUNTS)
COUNTED: Final = frozenset(declared.name for declared in (*COUNTS, *QUEUE_COUNTS))


def metrics_request(
    workers: Iterable[Worker], began_ns: int, now_ns: int, *, host: str = "", running: bool = True
) -> bytes:
    """Return how *workers* are doing as a request; counts are from *began_ns* on. *host* is where their files are."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = SERVICE
    if host:
        resource.resource.attributes.add(key="host.name").value.string_value = host
    scope = resource.scope_metrics.add()
    scope.scope.name = SCOPE
    metrics = {declared.name: _metric(scope.metrics.add(), declared) for declared in ALL}
    for worker in workers:
        words = _words(worker)
        for name, value in _values(worker, began_ns, now_ns, running=running).items():
            if name in TIMES and not value:
                continue
            point = _points(metrics[f"controltower.scrape.{name}"]).add(time_unix_nano=now_ns, as_int=value)
            point.start_time_unix_nano = began_ns if f"controltower.scrape.{name}" in COUNTED else 0
            for key, text in {"source": worker.name, **words.get(name, {})}.items():
                if text:
                    point.attributes.add(key=key).value.string_value = text
        for level in worker.health.levels:
            point = _points(metrics[f"{QUEUE}{level.name}"]).add(time_unix_nano=now_ns, as_int=level.value)
            for key, text in (("source", worker.name), (DESTINATION, level.queue), (GROUP, level.group)):
                if text:
                    point.attributes.add(key=key).value.string_value = text
    return bytes(request.SerializeToString())


def _points(metric: Metric) -> Any:
    return metric.sum.data_points if metric.HasField("sum") else metric.gauge.data_points


def _metric(metric: Metric, declared: Declared) -> Metric:
    metric.name, metric.unit, metric.description = declared.name, declared.unit, declared.meaning
    if declared.name in COUNTED:
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    else:
        metric.gauge.SetInParent()
    return metric


def _words(worker: Worker) -> dict[str, dict[str, str]]:
    """Return what is told in words beside a number. Texts about patients' data may quote them: those stay here."""
    health, private = worker.health, worker.source.data == "phi"
    failing = worker.failing.partition(":")[0] if private else worker.failing
    problems = () if private else health.problems
    return {
        "running": {"kind": worker.source.kind},
        "failing": {"reason": failing[:LONGEST_REASON]},
        "problems": {"reason": ": ".join(problems[0])[:LONGEST_REASON] if problems else ""},
        "last_reject": {"reason": health.reject_reason, "file": str(worker.rejects)},
    }


def _values(worker: Worker, began_ns: int, now_ns: int, *, running: bool) -> dict[str, int]:
    health = worker.health
    return {
        "records": health.records,
        "steps": health.steps,
        "unmatched": health.unmatched,
        "rejected": health.rejected,
        "refused": health.refused,
        "behind": health.behind_bytes,
        "open": health.open,
        "lag": max(0, now_ns - (health.caught_up_ns or began_ns)) // 10**9,
        "watermark": health.watermark_ns // 10**9,
        "problems": len(health.problems),
        "failing": int(bool(worker.failing)),
        "running": int(running),
        "last_success": health.worked_ns // 10**9,
        "last_record": health.read_ns // 10**9,
        "last_reject": health.rejected_ns // 10**9,
    }
