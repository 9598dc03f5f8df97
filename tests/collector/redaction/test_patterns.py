"""What is masked in free text, what is not, and that no text makes a search slow (F71, F74)."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.redaction.patterns import Masker
from controltower.collector.redaction.policy import default_policy

POLICY = default_policy()
MASKER = Masker(POLICY)

FOUND = {
    "ssn": [
        "078-05-1120",
        "SSN:078-05-1120",
        "ssn078-05-1120x",
        "x078-05-1120",
        "078 05 1120",
        "000-12-3456",
        "987-65-4321",
        "219‑09‑9999",
    ],
    "ssn_labelled": ["SSN 078051120", 'ssn":"078051120"', "Social Security Number is 078051120", "ss# 078051120"],
    "email": ["Write to zeb.q+x@mail.canary.example today", "zeb%40canary.example"],
    "phone": ["555-010-4477", "(555) 010-4477", "(555)010-4477", "+1 555 010 4477", "+15550104477", "555.010.4477"],
    "phone_labelled": ["phone: 5550104477", "Fax=5550104477"],
    "birth": [
        "DOB 1931-02-28",
        "dob=02/28/1931",
        '"birthDate":"1931-02-28"',
        "born on 28 Feb 1931",
        "date of birth: February 28, 1931",
        "DOB: 19310228",
    ],
    "record": ["MRN: 00927364", "mrn=AB-0092736", "Medical record no. 92736400", "patient account 8800417733"],
    "licence": ["driver's license Q1234567", "VIN 1ZZCANARY00417733", "passport no. X1234567"],
    "device": ["serial no. SN-99417733", "S/N: 99417733", "(01)00844588003288(21)ZQ417733"],
    "card": ["4111 1111 1111 1111", "4111-1111-1111-1111", "5500000000000004", "3782 822463 10005"],
    "iban": ["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19", "NL91ABNA0417164300"],
    "bank_account": ["routing number 021000021", "bank account: 000123456789"],
    "ip": ["from 203.0.113.77", "2001:db8::8a2e:370:7334", "2001:0db8:85a3:0000:0000:8a2e:0370:7334", "fe80::1"],
    "mac": ["00:1B:44:11:3A:B7"],
    "bearer": ["Authorization: Bearer abcdef.ghijkl-123", "basic dXNlcjpwYXNz"],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"],
    "secret": ["password=hunter2x", '"password": "hunter2x"', "api_key: hunter2x", "pwd = 'hunter2x'"],
    "private_key": ["-----BEGIN PRIVATE KEY-----\nMIIB\nAQ==\n-----END PRIVATE KEY-----"],
    "url_credentials": ["postgres://user:pass@db.example/x"],
    "url_query": ["https://portal.example/p?name=zebulon", "GET /patients?name=zebulon&x=1"],
    "person": ["patient: Zebulon Quackenbush", "Patient name = Quackenbush, Zebulon", "Subscriber Zeb Quackenbush"],
    "address": ["at 4711 Canary Wharf Road"],
    "zip": ["Zzyzx, CA 92309", "zip code: 92309-1234"],
    "age": ["age: 94", "a 101-year-old"],
    "hl7": ["MSH|^~\\&|A\rPID|1||927364^^^H||QUACKENBUSH^ZEBULON||19310228|M\rPV1|1"],
    "x12": ["ISA*00~NM1*QC*1*QUACKENBUSH*ZEBULON****MI*XQK555~DMG*D8*19310228*M~"],
}

UNCHANGED = [
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "12345678-1234-1234-1234-123456789012",
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "00f067aa0ba902b7",
    "1760000000000000000",
    "1234.50",
    "-1,234,567.89 USD",
    "PO-4500012345",
    "4500012345",
    "INV-2026-000123",
    "GR-20260101-001",
    "PO 4711 was approved in 3 days",
    "2026-01-02T03:04:05.678Z",
    "2026-01-02 03:04:05",
    "12:34:56",
    "HTTP/1.1 404 Not Found",
    "SELECT id, name FROM orders WHERE total > 100",
    ".login input[type=password]:focus { color: #ff0000; padding: 0 4px }",
    "#password:hover, .password::placeholder { font: 12px/1.5 Arial }",
    "the password was changed",
    "std::vector<face::cafe>::push_back",
    "opentelemetry-sdk@1.45.0",
    "v1.45.0-rc.1+build.7",
    "p2p.purchase_order.dispatched",
    "OrderService.submitOrderForApprovalAndDispatch",
    "/orders/{id}/lines",
    "a/b/c.py:123 in handle",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "00012345678905",
    "item 10 x 25 @ 4.50",
    "Member of the board",
    "ORA-00942: table or view does not exist",
    "t1:QD4JIJPNVA73IXX37B5JUX2OSR",
]


def mask(text: str) -> tuple[str, tuple[str, ...]]:
    """Mask a text."""
    masked, rules = MASKER.mask(text.encode())
    return masked.decode(), rules


@pytest.mark.parametrize("rule", FOUND)
def test_what_is_planted_is_found(rule: str) -> None:
    """Each form is found by its rule, alone and within a text, at its ends and next to another of its kind."""
    called = POLICY.patterns[rule].rule
    for text in FOUND[rule]:
        assert called in mask(text)[1], text
        for around in (f"note: {text}", f"{text}\nmore", f"a, {text} {text}"):
            assert called in mask(around)[1], around


@pytest.mark.parametrize("text", UNCHANGED)
def test_what_is_harmless_stays(text: str) -> None:
    """Ids, amounts, numbers of documents, code and CSS stay as they are (F74)."""
    assert mask(text) == (text, ())


def test_only_what_is_found_goes() -> None:
    """The rest of a long text stays."""
    long = "All is well. " * 1000

    assert mask(f"{long}078-05-1120 {long}") == (f"{long}[ssn] {long}", ("ssn",))


def test_lists_are_masked_to_their_ends() -> None:
    """First, last and neighbouring elements are found (I36)."""
    numbers = [
        f"{area:03}-{group:02}-{serial:04}" for area, group, serial in ((1, 1, 1), (666, 99, 9999), (899, 50, 0))
    ]
    for separator in (",", ", ", ";", "|", "\n", "\t", " "):
        masked, rules = mask(separator.join(numbers))
        assert masked == separator.join(["[ssn]"] * 3)
        assert rules == ("ssn",)


STYLES = "".join(
    f"#login-{n} input[type=password]:focus {{ color: #{n:06x}; margin: {n}px 4px }}\n.password-{n} {{ width: {n}% }}\n"
    for n in range(200)
)
FORM = json.dumps(
    {
        "title": "Change your password",
        "fields": [{"name": "password", "type": "password", "label": f"Password {n}", "at": n} for n in range(200)],
        "rules": {"password_length": 12, "shows_password": False},
    }
)


@pytest.mark.parametrize("text", [STYLES, FORM, json.dumps({"css": STYLES})], ids=["css", "json", "css in json"])
def test_a_word_is_no_reason_to_delete_what_is_around_it(text: str) -> None:
    """Whole documents about passwords stay, and of one with a password in it, that alone goes (F74)."""
    assert mask(text) == (text, ())
    assert mask(f'{text} {{"password": "hunter2x"}} {text}') == (
        f'{text} {{"password": "[credential]"}} {text}',
        ("credential",),
    )


def test_labelled_numbers_are_found_at_both_ends_of_a_list() -> None:
    """With dashes or without: where a word says what they are, first, last and neighbours go (F74)."""
    for number in ("001010001", "001-01-0001", "899 99 9999", "665.50.0000"):
        for items in (["SSN " + number] * 3, ["ssn=" + number, "ok", "ss# " + number]):
            for text in (f"[{', '.join(items)}]", json.dumps(items), ";".join(items), "\n".join(items)):
                masked, rules = mask(text)
                assert number not in masked, text
                assert masked.count("[ssn]") == sum("ok" not in item for item in items), text
                assert rules == ("ssn",)


def test_base64_is_looked_into() -> None:
    """What is found when decoded is masked, in either alphabet; base64 of anything else stays."""
    for text in (b"SSN 078-05-1120 of somebody", b"\xff\xfe>>>? zeb@canary.example"):
        for encoded in (base64.b64encode(text), base64.urlsafe_b64encode(text), base64.b64encode(text).rstrip(b"=")):
            assert MASKER.mask(b"data:" + encoded) == (b"data:[base64]", ("base64",))
    harmless = base64.b64encode(bytes(range(60)))
    assert MASKER.mask(harmless) == (harmless, ())


@given(st.binary(max_size=200))
def test_any_bytes_can_be_masked(text: bytes) -> None:
    """What is no UTF-8 is no reason to fail, and what was masked once is not changed again by the same rules."""
    masked, rules = MASKER.mask(text)

    assert bool(rules) == (masked != text)


MEBIBYTE = 1024 * 1024
ADVERSARIAL = [
    "a",
    "@",
    "1",
    "a@",
    "1-",
    "a.",
    "%40a.",
    "password=",
    "NM1*QC*",
    "PID|",
    "/?",
    "-----BEGIN ",
    " ",
    "A",
    "=",
    "::",
]


@pytest.mark.timeout(60)  # it takes a tenth of a second; an engine that goes back over its text would take days
@pytest.mark.parametrize("piece", ADVERSARIAL, ids=repr)
def test_no_text_is_slow(piece: str) -> None:
    """A mebibyte of what patterns begin with is masked in one pass, and what stands behind it is found (F71)."""
    text = (piece * MEBIBYTE)[:MEBIBYTE].encode()

    masked, rules = MASKER.mask(text + b" 078-05-1120")
    assert "ssn" in rules or b"078-05-1120" not in masked
