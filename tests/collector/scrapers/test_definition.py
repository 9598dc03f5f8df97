"""A file of sources: what may stand in it, and where each mistake is."""

from pathlib import Path

import pytest

from controltower.collector.scrapers.definition import load_sources, parse_sources
from controltower.collector.scrapers.errors import SourcesError

GOOD = """\
sources:
  erp:
    kind: log
    files: ['/var/log/erp.log']
    rules:
      - match: {line: 'PO (?P<po>[0-9]+)'}
        step: p2p.purchase_order.created
        keys: {purchase_order: po}
"""


def problems(text: str) -> list[tuple[int, str, str]]:
    """Return what is wrong with a file: line, field, problem."""
    with pytest.raises(SourcesError) as refused:
        parse_sources(text, "sources.yaml")
    return refused.value.problems


def test_a_source_that_says_as_little_as_it_can() -> None:
    """Files, a rule and a key are enough."""
    source = parse_sources(GOOD, "sources.yaml").sources["erp"]

    assert source.format == "text"
    assert source.rules[0].keys["purchase_order"].field == "po"


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("kind: log", "kind: lag", 3, "sources.erp.kind", "'log'"),
        ("    files", "    colour: red\n    files", 4, "sources.erp.colour", "unknown field"),
        ("PO (?P<po>[0-9]+)", "PO (?P<po>[0-9]+", 6, "sources.erp.rules[0].match.line", "not a regular expression"),
        (r"PO (?P<po>[0-9]+)", r"(?P<po>a)\1", 6, "sources.erp.rules[0].match.line", "not a regular expression"),
        (r"PO (?P<po>[0-9]+)", "PO %{INTT:po}", 6, "sources.erp.rules[0].match.line", "no pattern INTT; meant is INT"),
        ("p2p.purchase_order.created", "PO created", 7, "sources.erp.rules[0].step", "pattern"),
        ("purchase_order: po", "Purchase: po", 8, "sources.erp.rules[0].keys.Purchase", "pattern"),
        ("purchase_order: po", "purchase_order: op", 8, "sources.erp.rules[0].keys.purchase_order", "no field here"),
        ("purchase_order: po", "purchase_order: $.po", 8, "sources.erp.rules[0].keys.purchase_order", "JSONPath"),
        (
            "purchase_order: po",
            "purchase_order: {field: po, do: [trimm]}",
            8,
            "sources.erp.rules[0].keys.purchase_order",
            "",
        ),
        ("purchase_order: po", "purchase_order: {do: [trim]}", 8, "sources.erp.rules[0].keys.purchase_order", "either"),
        ("{purchase_order: po}", "{}", 8, "sources.erp.rules[0].keys", "without a key"),
        (
            "        keys",
            "        outcome: rejected\n        keys",
            8,
            "sources.erp.rules[0].outcome",
            "{text: rejected}",
        ),
        ("        keys", "        by: po\n        keys", 8, "sources.erp.rules[0].by", "belong together"),
        (
            "        keys",
            "        scopes: {invoice: po}\n        keys",
            8,
            "sources.erp.rules[0].scopes.invoice",
            "no key",
        ),
        ("        keys", "        time: {field: po, format: '%Q'}\n        keys", 8, "", "no format"),
        ("        keys", "        time: {field: po, zone: Mars/X}\n        keys", 8, "", "time zone"),
        ("    files", "    time_zone: Nowhere\n    files", 4, "sources.erp.time_zone", "time zone"),
        ("  erp:", "  Erp/..:", 2, "sources.Erp/..", "pattern"),
        ("sources:", "sauces:", 1, "", ""),
        (
            "      - match",
            "      - when: {nothing: x}\n        match",
            6,
            "sources.erp.rules[0].when.nothing",
            "no field",
        ),
    ],
)
def test_each_mistake_has_its_place(old: str, new: str, line: int, field: str, words: str) -> None:
    """A mistake is told with line, field and what is wrong."""
    found = problems(GOOD.replace(old, new, 1))

    assert [each for each in found if each[0] == line and each[1].startswith(field) and words in each[2]], found


def test_a_mistake_is_told_once() -> None:
    """A rule with a mistake is not also told to be missing."""
    assert len(problems(GOOD.replace("p2p.purchase_order.created", "PO created"))) == 1


def test_a_group_that_two_expressions_find() -> None:
    """Which of the two would count could not be told."""
    text = GOOD.replace("text", "json").replace(
        "{line: 'PO (?P<po>[0-9]+)'}", "{line: '(?P<po>[0-9]+)', app: '(?P<po>[0-9]+)'}"
    )

    assert any("is in line, too" in words for _, _, words in problems(text.replace("files", "format: json\n    files")))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is told by its name."""
    with pytest.raises(SourcesError, match="cannot be read"):
        load_sources(tmp_path / "none.yaml")


QUEUE = """\
sources:
  mq:
    kind: tap
    broker: redis
    queue: orders
    rules:
      - step: p2p.purchase_order.created
        keys: {purchase_order: $.po}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("broker: redis", "broker: rabbit", 4, "sources.mq.broker", "'rabbitmq'"),
        ("broker: redis", "broker: rabbitmq", 2, "sources.mq.exchange", "is needed"),
        ("    queue", "    exchange: orders\n    queue", 5, "sources.mq.exchange", "is for broker: rabbitmq"),
        ("    queue", "    options: {password: x}\n    queue", 5, "sources.mq.options.password", "is a secret"),
        ("    queue", "    options: {password: {}}\n    queue", 5, "sources.mq.options.password", "either env or file"),
        ("redis\n", "kafka\n    body: data\n", 5, "sources.mq.body", "is for broker: redis"),
        ("broker: redis", "broker: sqs", 4, "sources.mq.broker", "'mqtt'"),
        ("broker: redis", "broker: mqtt", 2, "sources.mq.topics", "is needed"),
    ],
)
def test_each_mistake_of_a_broker_has_its_place(old: str, new: str, line: int, field: str, words: str) -> None:
    """A field that a broker does not know is no field of its sources."""
    found = problems(QUEUE.replace(old, new, 1))

    assert [each for each in found if each[0] == line and each[1].startswith(field) and words in each[2]], found
