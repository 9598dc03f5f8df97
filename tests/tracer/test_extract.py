"""Keys by rules: what they find in JSON, XML, forms and headers, what they refuse, and what hostile bodies cost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controltower import tracer
from controltower.tracer.hooks import _on as HOOKED
from controltower.tracer.integrations import extract
from controltower.tracer.testing import capture
from tests.tracer.hooked import needs

needs("lxml", "jsonpath_rfc9535", "yaml")

Keys = dict[str, tuple[str, ...]]


@pytest.fixture
def system() -> Iterator[tracer.System]:
    """A tracer whose counters a test looks at."""
    made = tracer.System(service="x", mode="development")
    yield made
    extract.use(())
    made.shutdown()


def found(system: tracer.System, rules: Any, body: object, headers: Any = (), place: str = "orders") -> Keys:
    """Return what *rules* find."""
    extract.use(extract.rules_from(rules))
    return extract.keys_in(system, place, headers, body)


ORDER = json.dumps({"order": {"number": "PO-1", "lines": [{"receipt": 7}, {"receipt": "R-8"}]}})
XML = '<o:order xmlns:o="urn:o" number="PO-1"><line>R-7</line><line>R-8</line><note/></o:order>'


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("$.order.number", ORDER, ("PO-1",)),
        ("$.order.number", ORDER.encode(), ("PO-1",)),
        ("$.order.number", json.loads(ORDER), ("PO-1",)),
        ("$.order.lines[*].receipt", ORDER, ("7", "R-8")),
        ("$..number", b"  " + ORDER.encode(), ("PO-1",)),
        ("$.numbers", '{"numbers": ["A", "B", "A", "", null, true, 1.5]}', ("A", "B")),
        ("$.absent", ORDER, None),
        ("$.order", ORDER, None),
        ("/*/@number", XML, ("PO-1",)),
        ("//line", XML, ("R-7", "R-8")),
        ("//*[local-name()='order']/@number", f'<?xml version="1.0" encoding="UTF-8"?>{XML}'.encode(), ("PO-1",)),
        ("//note", XML, None),
        ("/*", "﻿<a>PO-1</a>", ("PO-1",)),
        ("form:po", "po=PO+1&po=PO-2&mrn=12345", ("PO 1", "PO-2")),
        ("form:absent", b"po=PO-1", None),
        ("header:X-Order", "", ("PO-9",)),
    ],
)
def test_paths(system: tracer.System, path: str, body: object, expected: tuple[str, ...] | None) -> None:
    """Each form of path finds strings and whole numbers, one or many, and nothing else."""
    keys = found(system, {"purchase_order": path}, body, [("x-ORDER", b"PO-9")])

    assert keys.get("purchase_order") == expected
    assert system.health().misuse == {}


def test_numbers_of_patients_become_tokens(system: tracer.System) -> None:
    """A rule may find a claim's number: it is a token before it is kept; without a key it is left out and counted."""
    body = '{"claim": {"pcn": "PCN-0001"}}'
    with capture() as captured:
        keys = found(captured.system, {"claim_pcn": "$.claim.pcn"}, body)
        with tracer.step("a.b.c", keys={"claim_pcn": "PCN-0001"}):
            pass

    assert keys == {"claim_pcn": ((captured.steps[0].attributes or {})["controltower.key.claim_pcn"],)}
    assert "0001" not in str(keys)
    assert found(system, {"claim_pcn": "$.claim.pcn"}, body) == {}
    assert system.health().misuse == {"no_redaction_key": 1}


def test_rules_for_places(system: tracer.System) -> None:
    """A rule can hold for some places only; those for all hold there, too."""
    rules = {"purchase_order": "$.po", "POST /invoices/*": {"invoice": "$.number"}}
    body = '{"po": "PO-1", "number": "I-1"}'

    assert found(system, rules, body) == {"purchase_order": ("PO-1",)}
    assert found(system, rules, body, place="POST /invoices/7") == {"purchase_order": ("PO-1",), "invoice": ("I-1",)}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("$.po", "{broken"),
        ("$.po", b"{\xff\xfe"),
        ("$.po", '{"po":' + "[" * 100_000),
        ("$..po", "[" * 900 + "]" * 900),
        ("//po", "<po>PO-1"),
        ("//po", '<!DOCTYPE a [<!ENTITY b "' + "x" * 20_000 + '">]><a>' + "&b;" * 30_000 + "</a>"),
        ("form:po", "&".join("po=1" for _ in range(2_000))),
    ],
)
def test_bodies_that_cannot_be_read(system: tracer.System, path: str, body: object) -> None:
    """A broken or hostile body has no keys, raises nothing, and is counted."""
    assert found(system, {"purchase_order": path}, body) == {}
    assert set(system.health().misuse) <= {extract.UNREADABLE}
    assert system.health().internal_errors == 0


def test_entities_lead_nowhere(system: tracer.System, tmp_path: Path) -> None:
    """XML cannot have files read."""
    secret = tmp_path / "secret"
    secret.write_text("PO-SECRET")
    body = f'<!DOCTYPE a [<!ENTITY b SYSTEM "file://{secret}">]><a>&b;</a>'

    assert found(system, {"purchase_order": "/a"}, body) == {}


def test_large_bodies_and_many_values(system: tracer.System) -> None:
    """A body above the limit is not read; of values only as many are kept as travel."""
    large = '{"po": "PO-1", "pad": "' + "x" * extract.MAX_BODY + '"}'
    many = json.dumps({"po": [f"PO-{number}" for number in range(21)]})

    assert found(system, {"purchase_order": "$.po"}, large) == {}
    assert system.health().misuse == {extract.TOO_LARGE: 1}
    assert found(system, {"purchase_order": "$.po"}, many) == {}
    assert system.health().misuse == {extract.TOO_LARGE: 1, extract.TOO_MANY: 1}
    assert found(system, {"purchase_order": "$.po"}, None) == {}


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"purchase_order": "$.a["}, "is no JSONPath"),
        ({"purchase_order": "//a["}, "is no XPath"),
        ({"purchase_order": "order.number"}, "is JSONPath"),
        ({"purchase_order": "form:"}, "is JSONPath"),
        ({"purchase_order": 7}, "mapping"),
        ({"Purchase Order": "$.a"}, "is not a key type"),
        ({"orders.*": {"purchase_order": ["$.a"]}}, "is a text"),
        (["$.a"], "mapping"),
    ],
)
def test_bad_rules_refuse(rules: Any, sentence: str) -> None:
    """A bad rule refuses to start and says which; nothing was hooked."""
    with pytest.raises(tracer.SettingError, match=r"^extract: ") as refused:
        tracer.instrument(extract=rules)

    assert sentence in str(refused.value)
    assert HOOKED.hooks == {}


def test_rules_in_a_file(tmp_path: Path) -> None:
    """A file in YAML or JSON needs no code at all; a bad one is refused by the name of the variable."""
    yaml, other = tmp_path / "rules.yaml", tmp_path / "rules.json"
    yaml.write_text('extract:\n  purchase_order: "$.po"\n  "orders.*": {invoice: "form:invoice"}\n')
    other.write_text('{"purchase_order": "$.po"}')

    rules = extract.rules_from(None, {extract.VARIABLE: str(yaml)})
    assert [(rule.place, rule.type, rule.form) for rule in rules] == [
        ("*", "purchase_order", "json"),
        ("orders.*", "invoice", "form"),
    ]
    assert len(extract.rules_from(None, {extract.VARIABLE: str(other)})) == 1
    assert extract.rules_from(None, {}) == ()
    for text in ("{", "- a", "\t: ["):
        yaml.write_text(text)
        with pytest.raises(tracer.SettingError, match=f"^{extract.VARIABLE}: "):
            extract.rules_from(None, {extract.VARIABLE: str(yaml)})
    with pytest.raises(tracer.SettingError, match="cannot be read"):
        extract.rules_from(None, {extract.VARIABLE: str(tmp_path / "absent.yaml")})
