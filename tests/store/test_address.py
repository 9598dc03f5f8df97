"""Store addresses."""

from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.store.address import StoreAddress, embedded_address, parse_address
from controltower.store.errors import AddressError


def test_a_folder_is_the_embedded_engine() -> None:
    """chdb:/// with an absolute folder is the embedded engine over it."""
    address = parse_address("chdb:///var/lib/control%20tower/store")

    assert address == embedded_address(Path("/var/lib/control tower/store"))
    assert address.embedded
    assert address.database == "controltower"


def test_a_folder_may_name_its_database() -> None:
    """The database of an embedded engine is an option."""
    assert parse_address("chdb:///data/store?database=other").database == "other"


def test_a_server_has_user_password_port_and_database() -> None:
    """clickhouse:// holds everything that a client needs, percent-decoded."""
    address = parse_address("clickhouse://al%40ice:p%3As%2Fs@db.example:18123/tower")

    assert address == StoreAddress("clickhouse", None, "db.example", 18123, "al@ice", "p:s/s", "tower")
    assert not address.embedded
    assert not address.secure


@pytest.mark.parametrize(("text", "port"), [("clickhouse://h", 8123), ("clickhouses://h/x", 8443)])
def test_ports_have_the_engines_defaults(text: str, port: int) -> None:
    """Without a port it is the one ClickHouse listens on."""
    assert parse_address(text).port == port


def test_ipv6_hosts_keep_their_brackets_in_text() -> None:
    """An IPv6 host is understood, and printed as a URL needs it."""
    address = parse_address("clickhouse://[::1]:9/db")

    assert (address.host, address.port) == ("::1", 9)
    assert str(address) == "clickhouse://[::1]:9/db"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data",
        "/data/store",
        "chdb://",
        "chdb:///",
        "chdb://data/store",
        "http://h:8123",
        "clickhouse://",
        "clickhouse://:8123/db",
        "clickhouse://h:port/db",
        "clickhouse://h:99999/db",
        "clickhouse://h/db/more",
        "clickhouse://h/db?cluser=x",
        "clickhouse://[::1",
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    """An address that cannot be understood is refused, and the message says what to write."""
    with pytest.raises(AddressError, match=r"^The store's address .+\.$"):
        parse_address(text)


def test_the_password_never_shows() -> None:
    """Neither repr, nor str, nor an error holds the password."""
    address = parse_address("clickhouse://alice:hunter2@h/db")

    assert "hunter2" not in repr(address) + str(address)
    with pytest.raises(AddressError) as refused:
        parse_address("clickhouse://alice:hunter2@h/db?x=1")
    assert "hunter2" not in str(refused.value)


def test_the_engines_files_are_no_database() -> None:
    """The embedded engine takes names in its database default for files, so nothing is kept there."""
    with pytest.raises(AddressError, match="name another one"):
        parse_address("chdb:///data/store?database=default")


@given(st.text())
def test_every_text_is_an_address_or_a_refusal(text: str) -> None:
    """Parsing raises nothing but AddressError."""
    for form in (text, f"clickhouse://{text}", f"chdb://{text}"):
        with suppress(AddressError):
            parse_address(form)


@given(st.text(min_size=1), st.text(min_size=1))
def test_credentials_survive_quoting(user: str, password: str) -> None:
    """A user and password that are percent-encoded come out as they went in."""
    try:
        text = f"clickhouse://{quote(user, safe='')}:{quote(password, safe='')}@h/db"
    except UnicodeEncodeError:
        return  # lone surrogates have no encoding
    address = parse_address(text)

    assert (address.user, address.password) == (user, password)
