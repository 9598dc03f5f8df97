"""All sources of a file: exchanged when it changes, refused when it cannot be, reported to the collector."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.settings import Redaction
from controltower.collector.scrapers.delivery import Collector
from controltower.collector.scrapers.errors import BusyError, SourcesError
from controltower.collector.scrapers.scraper import Scraper
from tests.collector.requests import PATIENCE_S
from tests.collector.scrapers.answering import Answer, answering
from tests.processes import until

OK: Answer = (200, {}, b"")
SOURCE = """
  {name}:
    kind: log
    files: ['{folder}/{name}.log']
    rules:
      - {{match: {{line: '{word} (?P<po>.*)'}}, step: p2p.purchase_order.created, keys: {{purchase_order: po}}}}
"""


def write(folder: Path, *sources: tuple[str, str]) -> Path:
    """Write a file of sources, each of a name and the word that its lines begin with."""
    file = folder / "sources.yaml"
    text = "sources:" + "".join(SOURCE.format(name=name, folder=folder, word=word) for name, word in sources)
    file.write_text(text, encoding="utf-8")
    return file


def scraper_of(folder: Path, url: str) -> Scraper:
    return Scraper(folder / "sources.yaml", folder / "scrape", Collector(url), Redaction(default_policy()))


@contextmanager
def at_work(scraper: Scraper) -> Iterator[None]:
    """Let it work in a thread for the length of the block."""
    thread = threading.Thread(target=scraper.run)
    thread.start()
    try:
        yield
    finally:
        scraper.ask_to_stop()
        thread.join(PATIENCE_S)
        scraper.close()
    assert not thread.is_alive()


def sent(bodies: list[bytes], word: bytes) -> Callable[[], bool]:
    return lambda: any(word in body for body in bodies)


def test_a_changed_file_is_used(tmp_path: Path) -> None:
    """A source that is new begins, one that changed goes on with its new rules, one that is gone ends."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.log").write_text(f"order {name.upper()}-1\n", encoding="utf-8")
    write(tmp_path, ("a", "order"))
    with answering(lambda *_: OK) as server:
        scraper = scraper_of(tmp_path, server.url)
        with at_work(scraper):
            until(sent(server.bodies, b"A-1"), "the first source is read")
            write(tmp_path, ("a", "bill"), ("b", "order"))
            until(sent(server.bodies, b"B-1"), "the new source is read")
            with (tmp_path / "a.log").open("a", encoding="utf-8") as log:
                log.write("order A-2\nbill A-3\n")
            until(sent(server.bodies, b"A-3"), "the new rule is used")
            write(tmp_path, ("b", "order"))
            until(lambda: set(scraper.workers) == {"b"}, "the first source ended")

    assert not sent(server.bodies, b"A-2")()
    assert sum(b"A-1" in body for body in server.bodies) == 1


def test_a_file_with_a_mistake_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was running goes on, and the mistake is told with its line."""
    log = tmp_path / "a.log"
    log.write_text("order A-1\n", encoding="utf-8")
    file = write(tmp_path, ("a", "order"))
    with answering(lambda *_: OK) as server, at_work(scraper_of(tmp_path, server.url)):
        until(sent(server.bodies, b"A-1"), "the source is read")
        file.write_text("sources: [", encoding="utf-8")
        until(lambda: "is not used" in caplog.text, "the mistake is told")
        with log.open("a", encoding="utf-8") as opened:
            opened.write("order A-2\n")
        until(sent(server.bodies, b"A-2"), "the source is read on")


def test_a_bad_file_does_not_start(tmp_path: Path) -> None:
    """It is refused before anything is opened."""
    (tmp_path / "sources.yaml").write_text("sources: {}", encoding="utf-8")

    with pytest.raises(SourcesError):
        scraper_of(tmp_path, "http://127.0.0.1:1")
    assert not (tmp_path / "scrape").exists()


def test_two_processes_do_not_share_a_source(tmp_path: Path) -> None:
    """The second one is refused until the first has ended; with other sources it works beside it."""
    write(tmp_path, ("a", "order"))
    first = scraper_of(tmp_path, "http://127.0.0.1:1")

    with pytest.raises(BusyError, match=r"source a .* stop it first"):
        scraper_of(tmp_path, "http://127.0.0.1:1")
    write(tmp_path, ("b", "order"))
    scraper_of(tmp_path, "http://127.0.0.1:1").close()
    first.close()
    write(tmp_path, ("a", "order"))
    scraper_of(tmp_path, "http://127.0.0.1:1").close()


def test_a_source_that_is_given_up_is_free(tmp_path: Path) -> None:
    """A source that is taken out of a file can be taken over by another process."""
    (tmp_path / "a.log").write_text("order A-1\n", encoding="utf-8")
    write(tmp_path, ("a", "order"), ("b", "order"))
    with answering(lambda *_: OK) as server:
        first = scraper_of(tmp_path, server.url)
        with at_work(first):
            until(sent(server.bodies, b"A-1"), "the source is read")
            write(tmp_path, ("b", "order"))
            until(lambda: set(first.workers) == {"b"}, "the source ended")
            other = tmp_path / "other.yaml"
            other.write_text("sources:" + SOURCE.format(name="a", folder=tmp_path, word="order"), encoding="utf-8")
            second = Scraper(other, tmp_path / "scrape", Collector(server.url), Redaction(default_policy()))
            second.run_once()
            second.close()

    assert sum(b"A-1" in body for body in server.bodies) == 1


def points(body: bytes) -> dict[tuple[str, str], int]:
    """Return the values of a report by metric and source."""
    request: Any = ExportMetricsServiceRequest.FromString(body)
    found = {}
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        for point in [*metric.sum.data_points, *metric.gauge.data_points]:
            found[metric.name.removeprefix("controltower.scrape."), point.attributes[0].value.string_value] = (
                point.as_int
            )
    return found


def test_how_sources_are_doing_is_sent_as_metrics(tmp_path: Path) -> None:
    """Counts, what is left to read, and whether anything is wrong, by source."""
    (tmp_path / "a.log").write_text("order A-1\nnothing\norder " + "9" * 600 + "\nhalf", encoding="utf-8")
    write(tmp_path, ("a", "order"))
    with answering(lambda *_: OK) as server:
        scraper = scraper_of(tmp_path, server.url)
        scraper.run_once()
        scraper.close()

    assert server.paths[-1] == "/v1/metrics"
    found = points(server.bodies[-1])
    counted = {name: found[name, "a"] for name in ("records", "steps", "unmatched", "rejected", "behind", "failing")}
    assert counted == {"records": 3, "steps": 1, "unmatched": 1, "rejected": 1, "behind": 4, "failing": 0}
