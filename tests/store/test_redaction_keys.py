"""The keys of tokens travel with the messages: the load makes the collector's tokens, and no key stays anywhere."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controltower.collector.redaction.loading import load_rules
from controltower.collector.redaction.policy import default_policy
from controltower.store.keyed import keyed, varint, with_keys
from controltower.store.loader import Segment, load_segment
from controltower.store.redacting import apply_redaction
from controltower.tracer.tokens import Key, Tokeniser
from tests.store.otlp import Loading, Value, record, request, span

KEYS = (Key(2, b"needle-in-the-haystack-of-keys-2"), Key(1, b"needle-in-the-haystack-of-keys-1"))
HAVE: dict[str, Value] = {"controltower.key.case": "C-1", "controltower.scope.case": "or1"}


@pytest.fixture(autouse=True)
def _in_force(loading: Loading) -> None:
    """The shipped policy is in force with both keys."""
    apply_redaction(loading.client, load_rules(default_policy(), KEYS))


def load(loading: Loading, sent: Any, keys: tuple[Key, ...] = KEYS) -> str:
    """Load a request twice over, with keys."""
    content = record(sent.SerializeToString())
    segment = loading.segment(content + content)
    opened = keyed(segment.open, {"": [key.secret for key in keys]})
    load_segment(loading.client, Segment(segment.id, "traces", segment.path, opened))
    return segment.id


def test_the_load_makes_the_tokens_of_the_collector(loading: Loading) -> None:
    """A patient's key of a source of another class becomes both tokens of the rotation, in every record."""
    rows = loading.rows(load(loading, request(span(1, HAVE))), "SpanAttributes")

    new, old = (token.decode() for token in Tokeniser(KEYS).tokens("case", b"or1", b"C-1"))
    assert [row[0]["controltower.key.case"] for row in rows] == [f'["{new}","{old}"]'] * 2


def test_without_keys_the_load_drops(loading: Loading) -> None:
    """A load that brings fewer keys than the policy is in force with stores no patient's key."""
    rows = loading.rows(load(loading, request(span(1, HAVE)), KEYS[:1]), "SpanAttributes")

    assert rows[0][0]["controltower.redacted"] == "span.attributes:no_key=1"


def test_a_sender_cannot_bring_keys(loading: Loading) -> None:
    """Keys in the sender's own bytes come before those of the load, which are the ones that count."""
    body = _delimited(request(span(1, HAVE)).SerializeToString() + _field(b"mine") * 2)
    segment = loading.segment(body)
    opened = keyed(segment.open, {"": [key.secret for key in KEYS]})
    load_segment(loading.client, Segment(segment.id, "traces", segment.path, opened))

    (row,) = loading.rows(segment.id, "SpanAttributes")
    assert Tokeniser(KEYS).tokens("case", b"or1", b"C-1")[0].decode() in row[0]["controltower.key.case"]


def test_no_key_stays(loading: Loading, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No table of the engine's own names a key, and nothing is left in, or passes through, the temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "there is no such folder"))
    load(loading, request(span(1, HAVE)))

    for table in ("tables", "processes", "settings", "errors"):
        said = loading.client.query(f"SELECT toString(tuple(*)) FROM system.{table}").result_rows
        assert not [row for (row,) in said if "in-the-haystack-of-keys" in row], table
    columns = loading.client.query(
        "SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'RedactionKeys' "
        "AND table NOT LIKE 'otlp_%_decode'"  # the views that fill these
    ).result_rows
    assert {table for (table,) in columns} == {f"otlp_{signal}_decoded" for signal in ("traces", "logs", "metrics")}


def _delimited(message: bytes) -> bytes:
    return varint(len(message)) + message


def _field(value: bytes) -> bytes:
    return varint(20101 << 3 | 2) + varint(len(value)) + value


@given(st.lists(st.binary(max_size=300)), st.binary(max_size=40))
def test_every_message_has_the_fields_at_its_end(messages: list[bytes], fields: bytes) -> None:
    """Messages stay in order and whole, each with the fields behind it; what is cut short stays as it is."""
    whole = b"".join(map(_delimited, messages))

    def add(message: bytes) -> bytes:
        return message + fields

    assert with_keys(whole, add) == b"".join(_delimited(message + fields) for message in messages)
    assert with_keys(whole + b"\x05ab", add).endswith(b"\x05ab")


@given(st.binary(max_size=60))
def test_what_is_no_message_comes_to_an_end(message: bytes) -> None:
    """Whatever stands in the place of a message, keys are put behind it, and nothing but keys is taken out."""
    assume(_field(b"")[:-1] not in message)

    segment = keyed(lambda: BytesIO(_delimited(message)), {"north": [b"n" * 32]})().read()

    assert segment == _delimited(message)  # of no tenant with a key


def test_each_tenants_messages_have_its_keys(loading: Loading) -> None:
    """In one segment each tenant's keys become its own tokens, and are dropped where it has no key, whatever it brings."""
    own = {"north": KEYS, "south": (Key(2, b"s" * 32), Key(1, b"t" * 32))}
    body = request(span(1, HAVE)).SerializeToString()
    brought = _field(b"x" * 32) * 2
    content = b"".join(record(body + brought, tenant=tenant) for tenant in ("north", "south", "nobody", "north"))
    segment = loading.segment(content)
    opened = keyed(segment.open, {tenant: [key.secret for key in keys] for tenant, keys in own.items()})
    load_segment(loading.client, Segment(segment.id, "traces", segment.path, opened))

    rows = list(loading.rows(segment.id, "TenantId", "SpanAttributes['controltower.key.case']"))
    tokens = {
        tenant: "[{}]".format(",".join(f'"{each.decode()}"' for each in Tokeniser(keys).tokens("case", b"or1", b"C-1")))
        for tenant, keys in own.items()
    }
    assert Counter(rows) == {("north", tokens["north"]): 2, ("south", tokens["south"]): 1, ("nobody", ""): 1}
    assert len(set(tokens.values())) == 2


def test_without_keys_nothing_is_read(tmp_path: Path) -> None:
    """Where there are no keys the messages are opened as they were."""
    opened: Iterator[BytesIO] = iter([BytesIO(b"as it was")])

    assert keyed(lambda: next(opened), {})().read() == b"as it was"
