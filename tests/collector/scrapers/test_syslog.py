"""Syslog by UDP, TCP and TLS: each message is kept before its sender goes on, and what is not kept is counted."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controltower.collector.scrapers import syslog_listener
from controltower.collector.scrapers.definition import SyslogSource, parse_sources
from controltower.collector.scrapers.errors import SourcesError
from controltower.collector.scrapers.syslog import SyslogReader
from controltower.collector.scrapers.syslog_framing import LONGEST_BYTES, Framing, FramingError, as_line
from controltower.collector.scrapers.syslog_spool import PATTERN
from tests.collector.certificates import Authority
from tests.collector.scrapers.answering import Answer, answering
from tests.collector.scrapers.brokers import worker_of
from tests.collector.scrapers.test_worker import attributes_of, spans_of
from tests.collector.scrapers.writers import ManualClock
from tests.processes import until

OK: Answer = (200, {}, b"")
NEW = "<13>1 2026-11-03T13:12:44.017Z erp edi 71 sent - order PO-{}"
OLD = "<13>Nov  3 13:12:44 erp edi[71]: order PO-{}"
MESSAGES = st.one_of(
    st.binary(min_size=1, max_size=40).map(lambda body: b"<1>" + body.replace(b"\n", b"")),
    st.just(b"<13>1 " + b"x" * 900),
)


def source_of(folder: Path, *listen: str, **options: Any) -> SyslogSource:
    """Return a source that listens."""
    rule = {
        "match": {"message": "^order (?P<po>.*)$"},
        "step": "p2p.purchase_order.created",
        "keys": {"purchase_order": "po"},
    }
    said = {"kind": "syslog", "listen": listen, "folder": str(folder / "received"), "rules": [rule], **options}
    source = parse_sources(json.dumps({"sources": {"app": said}}), "app.yaml").sources["app"]  # JSON is YAML
    assert isinstance(source, SyslogSource)
    return source


@contextmanager
def listening(source: SyslogSource) -> Iterator[SyslogReader]:
    """Give a reader that listens."""
    with closing(SyslogReader(source, ManualClock())) as reader:
        reader.read()
        yield reader


def orders(reader: SyslogReader) -> list[str]:
    """Return the messages that are there now."""
    return [str(reader.parse(record)["message"]) for record in reader.read().records]


def lost(reader: SyslogReader) -> int:
    """Return how many messages are told as lost."""
    (level,) = reader.levels
    assert level.name == "dropped"
    return level.value


def tcp(port: int) -> socket.socket:
    """Return a connection."""
    return socket.create_connection(("127.0.0.1", port), 10)


# -- framing


@settings(deadline=None)
@given(
    messages=st.lists(st.tuples(MESSAGES, st.booleans()), max_size=6),
    size=st.integers(1, 60),
)
def test_messages_are_told_apart(messages: list[tuple[bytes, bool]], size: int) -> None:
    """Counted or ended by their line, mixed, and however the stream is cut into pieces."""
    stream = b"".join(b"%d %b" % (len(each), each) if counted else each + b"\n" for each, counted in messages)
    framing = Framing()
    found = [each for at in range(0, len(stream), size) for each in framing.feed(stream[at : at + size])]

    assert found + framing.end() == [each for each, _ in messages]


@pytest.mark.parametrize("stream", [b"99999999 <1>x", b"12x<1>", b"0 ", b"65537 ", b"7" * 40])
def test_a_count_that_cannot_be_ends_the_connection(stream: bytes) -> None:
    """Nothing is allocated for it, and nothing behind it is taken for a message."""
    with pytest.raises(FramingError):
        Framing().feed(stream)


def test_a_message_that_is_too_long_is_passed_over() -> None:
    """Its end is looked for without keeping it, it is counted, and what follows is read."""
    framing = Framing()
    for _ in range(LONGEST_BYTES // 1000 + 2):
        assert framing.feed(b"<1>" + b"x" * 1000) == []
    assert framing.feed(b"x\n<1>next\n<1>cut off") == [b"<1>next"]
    assert (framing.too_long, framing.end()) == (1, [b"<1>cut off"])


def test_a_message_is_one_line() -> None:
    """Line ends in it are written as rsyslog writes them."""
    assert as_line(b"<1>a\nb\0c\r\n\0") == b"<1>a#012b#000c\n"
    assert as_line(b"\r\n") == b""


# -- listening


def test_by_udp_and_tcp(tmp_path: Path) -> None:
    """Both syslogs, counted and by lines, by datagrams and connections."""
    with listening(source_of(tmp_path, "udp://127.0.0.1:0", "tcp://127.0.0.1:0")) as reader:
        udp_port, tcp_port = reader.ports
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(NEW.format(1).encode(), ("127.0.0.1", udp_port))
            sender.sendto(OLD.format(2).encode() + b"\n", ("127.0.0.1", udp_port))
        counted = NEW.format(3).encode()
        with tcp(tcp_port) as connection:
            connection.sendall(
                b"%d %b" % (len(counted), counted) + OLD.format(4).encode() + b"\n" + OLD.format(5).encode()
            )
        found: list[str] = []
        until(lambda: len(found.__iadd__(orders(reader))) == 5, "all five are there")

        assert sorted(found) == [f"order PO-{number}" for number in range(1, 6)]
        assert lost(reader) == 0


def test_by_tls(tmp_path: Path) -> None:
    """With a certificate of ours, and senders that show one of theirs; others are not heard."""
    authority = Authority(tmp_path)
    own, theirs = authority.sign("server"), authority.sign("sender")
    files = {"certificate": str(own.certificate), "key": str(own.key), "client_ca": str(authority.certificate)}
    with listening(source_of(tmp_path, "tls://127.0.0.1:0", **files)) as reader:
        (port,) = reader.ports
        context = ssl.create_default_context(cafile=str(authority.certificate))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            send_by_tls(context, port, 1)
        context.load_cert_chain(theirs.certificate, theirs.key)
        send_by_tls(context, port, 2)
        found: list[str] = []
        until(lambda: found.__iadd__(orders(reader)), "it is there")

    assert found == ["order PO-2"]


def send_by_tls(context: ssl.SSLContext, port: int, number: int) -> None:
    """Send one message, and wait for what the other end says to our certificate."""
    with tcp(port) as plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
        connection.sendall(NEW.format(number).encode() + b"\n")
        connection.unwrap().close()


def test_files_are_kept_until_they_are_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was received is a step, also when the process ended before; files that were read are removed."""
    monkeypatch.setattr("controltower.collector.scrapers.syslog_spool.FILE_BYTES", 1)
    source = source_of(tmp_path, "tcp://127.0.0.1:0")
    with listening(source) as reader, tcp(reader.ports[0]) as connection:
        for number in range(3):
            connection.sendall(OLD.format(number).encode() + b"\n")
            until(lambda number=number: len(files_in(tmp_path)) == number + 1, "it is on the disk")  # type: ignore[misc]
    with answering(lambda *_: OK) as server:
        worker = worker_of(tmp_path, source, server.url, ManualClock())
        worker.run_once()

    sent = [attributes_of(span)["controltower.key.purchase_order"] for span in spans_of(server.bodies)]
    assert sent == ["PO-0", "PO-1", "PO-2"]
    assert files_in(tmp_path) == []


def files_in(folder: Path) -> list[Path]:
    return sorted((folder / "received").glob(PATTERN))


def test_without_room_connections_wait_and_datagrams_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of a connection is lost, and nobody is told that a datagram was kept which was not."""
    monkeypatch.setattr(syslog_listener, "MOST_DATAGRAM_BYTES", 200)
    source = source_of(tmp_path, "udp://127.0.0.1:0", "tcp://127.0.0.1:0").model_copy(update={"most_bytes": 60})
    with listening(source) as reader:
        udp_port, tcp_port = reader.ports
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, tcp(tcp_port) as connection:
            connection.sendall(OLD.format(1).encode() + b"\n")
            until(lambda: len(files_in(tmp_path)) == 1, "the first one is there")
            connection.sendall(OLD.format(2).encode() + b"\n")
            for number in range(20):
                sender.sendto(OLD.format(number).encode(), ("127.0.0.1", udp_port))
            until(lambda: lost(reader) > 0, "datagrams are lost, and counted")
            assert orders(reader) == ["order PO-1"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"listen": ["http://127.0.0.1"]}, "no address"),
        ({"listen": []}, "at least 1"),
        ({"listen": ["tls://127.0.0.1"]}, "certificate"),
        ({"certificate": "a", "key": "b"}, "certificate"),
        ({"client_ca": "a"}, "tls://"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    """It is refused with its line and field."""
    with pytest.raises(SourcesError, match=problem):
        source_of(tmp_path, *options.pop("listen", ["tcp://127.0.0.1:0"]), **options)


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    """The source fails with it, and tries again."""
    with listening(source_of(tmp_path, "tcp://127.0.0.1:0")) as reader:
        taken = source_of(tmp_path, f"tcp://127.0.0.1:{reader.ports[0]}")
        with closing(SyslogReader(taken, ManualClock())) as other, pytest.raises(OSError, match="in use"):
            other.read()
