"""Patterns by name become the expressions that they stand for, and each finds what it is called after."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.redaction.linear import Groups, Lines, expression
from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.settings import Redaction
from controltower.collector.scrapers.definition import LogSource, parse_sources
from controltower.collector.scrapers.errors import SourcesError
from controltower.collector.scrapers.grok import expanded, known, own_expanded
from controltower.collector.scrapers.log_sieve import sieve_of
from controltower.collector.scrapers.trial import run_tests
from tests.collector.scrapers.sources import NOW_NS

WHOLE = {name: expression(f"(?:{expanded(f'%{{{name}}}')})") for name in known()}
APACHE = b'10.0.0.7 - ann [03/Nov/2026:08:12:44 -0500] "POST /orders?x=1 HTTP/1.1" 201 17 "-" "curl/8"'


def is_whole(name: str, text: str) -> bool:
    """Whether *text* is what the pattern is called after, all of it."""
    return WHOLE[name].fullmatch(text.encode()) is not None


@pytest.mark.parametrize("name", known())
def test_each_pattern_can_be_sifted(name: str) -> None:
    """Alone and as a field it is RE2, and is looked for in many lines at a time."""
    Lines([expanded(f"^%{{{name}:field}}$")])

    assert "field" in Groups(expanded(f"%{{{name}:field}}")).numbers


@pytest.mark.parametrize(
    ("name", "texts", "others"),
    [
        (
            "TIMESTAMP_ISO8601",
            ["2026-11-03T08:12:44.017Z", "2026-11-03 08:12:44,017", "2026-11-03 08:12"],
            ["03.11.2026"],
        ),
        ("SYSLOGTIMESTAMP", ["Nov  3 08:12:44"], ["3 Nov 08:12:44"]),
        ("HTTPDATE", ["03/Nov/2026:08:12:44 -0500"], ["03/11/2026"]),
        ("DATE", ["11/03/2026", "31.12.2026"], ["2026"]),
        ("MONTH", ["Nov", "november"], ["Novem"]),
        ("NUMBER", ["12.50", "-3", ".5", "+7"], ["12,50", "1e5", ""]),
        ("INT", ["-3"], ["3.5"]),
        ("UUID", ["1b4e28ba-2fa1-11d2-883f-0016d3cca427"], ["1b4e28ba"]),
        ("MAC", ["00:1b:44:11:3a:b7", "001b.4411.3ab7", "00-1b-44-11-3a-b7"], ["00:1b"]),
        ("QS", ['"a \\" b"', "'x'"], ['"a" b"']),
        ("HOSTPORT", ["edi-1.example.org:8080", "10.0.0.7:22"], ["edi-1"]),
        ("EMAILADDRESS", ["a.b+c@example.org"], ["a.b@"]),
        ("URI", ["https://u:p@example.org:8443/a/b?c=d", "sftp://h/in/x.edi"], ["/a/b"]),
        ("PATH", ["/var/log/erp.log", "C:\\edi\\in\\x.edi"], ["x.edi"]),
        ("LOGLEVEL", ["WARN", "info", "ERROR", "Notice"], ["wArN"]),
        ("JAVACLASS", ["org.acme.Order$Line"], ["1.x"]),
    ],
)
def test_what_a_pattern_is(name: str, texts: list[str], others: list[str]) -> None:
    """As Logstash's pattern of the same name."""
    assert [text for text in texts if not is_whole(name, text)] == []
    assert [text for text in others if is_whole(name, text)] == []


@given(st.ip_addresses())
def test_addresses_are_found_in_all_their_forms(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """As short as they can be written, as long, and with an address of version 4 in them."""
    forms = [address.compressed, address.exploded]
    if isinstance(address, ipaddress.IPv6Address):
        last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        forms.append(f"{':'.join(address.exploded.split(':')[:6])}:{last}")

    assert all(is_whole("IP", form) and is_whole("IPORHOST", form) for form in forms)


@given(st.text("0123456789abf:.", max_size=24))
def test_what_is_no_address_is_none(text: str) -> None:
    """Whatever is found as an address is one; a zone aside."""
    if is_whole("IPV6", text):
        ipaddress.IPv6Address(text)
    if is_whole("IPV4", text):
        ipaddress.IPv4Address(text)


def test_fields_of_patterns_within_patterns() -> None:
    """A pattern that is made of others has their fields."""
    groups = Groups(expanded("%{COMBINEDAPACHELOG}"))
    spans = groups.find(APACHE)

    assert spans is not None
    found = {name: APACHE[slice(*spans[number])].decode() for name, number in groups.numbers.items()}
    assert (found["clientip"], found["auth"], found["verb"], found["request"]) == (
        "10.0.0.7",
        "ann",
        "POST",
        "/orders?x=1",
    )
    assert (found["response"], found["agent"]) == ("201", '"curl/8"')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%{TIMESTAMP_ISO:at}", "there is no pattern TIMESTAMP_ISO; meant is TIMESTAMP_ISO8601"),
        ("%{ZZZ}", "`controltower scrape show grok` lists those that are"),
        ("%{WORD:[a][b]}", "write %{NAME} or %{NAME:field}"),
        ("%{WORD:a:bool}", "bool is none of int, long"),
        ("%{}", "is no pattern"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, words: str) -> None:
    """With the names that are near, or where all of them are listed."""
    with pytest.raises(ValueError, match=r"pattern|none of") as refused:
        expanded(text)

    assert words in str(refused.value)


def test_patterns_of_ones_own() -> None:
    """They come before those that ship and may be made of them, but not of themselves; the others stay."""
    own = {"PO": "PO-%{INT:number}", "INT": "[0-9]{5}"}

    assert own_expanded("%{PO:po} %{WORD:x}", own) == "(?P<po>PO-(?P<number>[0-9]{5})) %{WORD:x}"
    with pytest.raises(ValueError, match="A is made of itself"):
        expanded("%{A}", {"A": "%{B}", "B": "%{A}"})


SOURCES = r"""
sources:
  erp:
    kind: log
    files: [erp.log]
    patterns: {PO: 'PO-[0-9]{5}'}
    rules:
      - match: {line: '^%{TIMESTAMP_ISO8601:at} %{LOGLEVEL} sent %{PO:po}, %{NUMBER:amount:float} %{WORD:currency}$'}
        step: p2p.purchase_order.dispatched
        time: at
        keys: {purchase_order: po}
        amount: amount
        currency: currency
    tests:
      - name: sent
        given: |
          2026-11-03T08:12:44Z INFO sent PO-10042, 1250.00 USD
          2026-11-03T08:12:44Z INFO sent PO-42, 1250.00 USD
        steps: [{step: p2p.purchase_order.dispatched, time: '2026-11-03T08:12:44Z', amount: '1250.00', keys: {purchase_order: PO-10042}}]
        unmatched: 1
"""


def test_a_source_with_patterns() -> None:
    """They are looked for in many lines at a time, as written out expressions are; an amount stays the text it is."""
    source = parse_sources(SOURCES, "sources.yaml").sources["erp"]

    assert isinstance(source, LogSource)
    assert sieve_of(source) is not None
    (outcome,) = run_tests("erp", source, Redaction(default_policy()), lambda: NOW_NS)
    assert not outcome.differences


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("%{WORD:currency}", "%{WORDS:currency}", (8, "sources.erp.rules[0].match.line")),
        ("'PO-[0-9]{5}'", "'PO-%{DIGITS}'", (6, "sources.erp.patterns")),
        ("'PO-[0-9]{5}'", "'PO-('", (6, "sources.erp.patterns")),
    ],
)
def test_a_mistake_has_its_place(old: str, new: str, place: tuple[int, str]) -> None:
    """Line and field of the pattern that is none."""
    with pytest.raises(SourcesError) as refused:
        parse_sources(SOURCES.replace(old, new), "sources.yaml")

    assert refused.value.problems[0][:2] == place
