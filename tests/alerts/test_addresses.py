"""Which addresses notifications may go to."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.alerts.addresses import Allowance, is_public, parse_allowance, parse_target, vet
from controltower.alerts.errors import RefusedAddressError

NOBODY = Allowance()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",  # http is for listed hosts
        "https://example.com:22/",
        "https://example.com:8443/hook",
        "https://example.com:0/",
        "https://example.com:99999/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "//example.com/hook",
        "example.com/hook",
        "https://",
        "https:///hook",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://example.com@169.254.169.254/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://tower.localhost/",
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://2130706433/",  # decimal
        "https://0x7f000001/",  # hexadecimal
        "https://0x7f.0.0.1/",
        "https://017700000001/",  # octal
        "https://0177.0.0.1/",
        "https://127.1/",  # short
        "https://127.0.1/",
        "https://1/",
        "https://a.0x7f/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:7f00:1::]/",
        "https://[fd00::1]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fec0::1]/",
        "https://[ff02::1]/",
        "https://[::1",
        "https://１２７.0.0.1/",  # full-width digits
        "https://exämple.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com /",
        "https://exa\tmple.com/",
        "https://example.com/\r\nHost: other",
        "https://exa%6dple.com/",
        "https://-bad-.example/",
        "https://a..example/",
        "https://" + "a" * 300 + ".example/",
    ],
)
def test_what_notifications_must_not_go_to_is_refused_before_any_look_up(url: str) -> None:
    """Other schemes and ports, user names, local names, non-public addresses and every number form are refused."""
    with pytest.raises(RefusedAddressError):
        parse_target(url, NOBODY)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://example.com", "example.com", "/"),
        ("https://Example.COM:443/a/b?token=c#d", "example.com", "/a/b?token=c"),
        ("https://hooks.example.com./x", "hooks.example.com", "/x"),
        ("https://8.8.8.8/x", "8.8.8.8", "/x"),
        ("https://[2606:4700::1111]/x", "[2606:4700::1111]", "/x"),
        ("https://xn--exmple-cua.com/", "xn--exmple-cua.com", "/"),
        ("https://1password.example1/", "1password.example1", "/"),
    ],
)
def test_public_https_is_allowed(url: str, authority: str, path: str) -> None:
    """A public host over https needs no list."""
    target = parse_target(url, NOBODY)

    assert (target.scheme, target.authority, target.path) == ("https", authority, path)
    assert path == "/" or path not in f"{target} {target!r}"


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("localhost", "http://localhost:8080/x"),
        ("localhost:8080", "http://localhost:8080/x"),
        ("127.0.0.1", "http://127.0.0.1:9/x"),
        ("127.0.0.0/8", "http://127.1.2.3:9/x"),
        ("::1", "http://[::1]:9/x"),
        ("fd00::/8", "https://[fd00::1]:8443/x"),
        ("hooks.intra.example", "https://hooks.intra.example:8443/x"),
        ("receiver", "http://receiver:5000/x"),
        ("10.0.0.0/8", "http://receiver.example:5000/x"),  # decided when the name is resolved
    ],
)
def test_the_allow_list_opens_what_it_names(allowed: str, url: str) -> None:
    """Hosts, hosts with a port and networks of the list may be local, plain http and on any port."""
    assert parse_target(url, parse_allowance([allowed])).path == "/x"


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("localhost:8080", "http://localhost:8081/"),
        ("intra.example", "http://evil.intra.example/"),
        ("intra.example", "http://intra.example.evil.com/"),
        ("10.0.0.0/8", "https://192.168.0.1/"),
        ("127.0.0.1", "https://2130706433/"),
        ("127.0.0.0/8", "https://[::ffff:127.0.0.1]/"),
        ("10.0.0.0/8", "https://localhost/"),
    ],
)
def test_the_allow_list_opens_nothing_else(allowed: str, url: str) -> None:
    """Other ports, names that only look alike and other spellings stay refused."""
    with pytest.raises(RefusedAddressError):
        parse_target(url, parse_allowance([allowed]))


@pytest.mark.parametrize("entry", ["http://x", "a b", "10.0.0.0/99", "host:port", "2130706433", "*", "x/y"])
def test_an_entry_that_is_neither_host_nor_network_is_refused(entry: str) -> None:
    """A mistake in the list does not become a host name that matches nothing."""
    with pytest.raises(ValueError, match=r".+"):
        parse_allowance(["good.example", entry])


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["8.8.8.8", "::1"],
        ["::ffff:8.8.8.8"],
        ["fe80::1%eth0"],
        [],
    ],
)
def test_one_answer_that_is_not_public_refuses_the_name(answers: list[str]) -> None:
    """Every answer of the look-up must be public, of both families."""
    with pytest.raises(RefusedAddressError):
        vet(parse_target("https://rebinding.example/", NOBODY), answers, NOBODY)


def test_a_listed_network_is_checked_when_the_name_is_resolved() -> None:
    """Plain http to a name is allowed where every answer lies in a listed network, and nowhere else."""
    allow = parse_allowance(["10.0.0.0/8"])
    target = parse_target("http://receiver.example/", allow)

    assert vet(target, ["10.1.2.3", "10.1.2.3"], allow) == [ipaddress.ip_address("10.1.2.3")]
    for answers in (["8.8.8.8"], ["10.1.2.3", "8.8.8.8"], ["192.168.0.1"]):
        with pytest.raises(RefusedAddressError):
            vet(target, answers, allow)


@given(st.ip_addresses())
def test_public_is_narrower_than_what_the_standard_library_calls_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """No address is public that is private, loopback, link-local, reserved, multicast or unspecified."""
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved
        assert not address.is_private


@given(st.ip_addresses(v=4).map(lambda address: ipaddress.IPv6Address(f"::ffff:{address}")))
def test_an_ipv4_address_inside_an_ipv6_one_is_never_public(address: ipaddress.IPv6Address) -> None:
    """What stands inside a mapped address is not looked at."""
    assert not is_public(address)


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_no_number_form_of_an_address_gets_through(number: int) -> None:
    """Decimal, hexadecimal, octal, short and padded forms are refused for every address, public ones too."""
    first, rest = number >> 24, number & 0xFFFFFF
    forms = [f"{number}", f"{number:#x}", f"0{number:o}", f"{first}.{rest}", f"{first:#x}.{rest}", f"0{first:o}.0.0.1"]
    for form in forms:
        with pytest.raises(RefusedAddressError):
            parse_target(f"https://{form}/", NOBODY)


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    """Nothing that is written for a URL raises anything else, with or without a scheme."""
    for url in (text, f"https://{text}", f"https://{text}/", f"https://example.com:{text}"):
        try:
            target = parse_target(url, NOBODY)
        except RefusedAddressError:
            continue
        assert target.scheme == "https"
        assert target.port == 443
