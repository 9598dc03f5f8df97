"""Who is let in, and what guessing costs: over real sockets, and with a clock of the test's own."""

import asyncio
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controltower.collector.auth import Sender, Tokens
from controltower.collector.door import MOST_HELD, Door
from controltower.collector.guesses import FORGET_S, FREE, LOCK_AFTER, LONGEST_DELAY_S, LONGEST_LOCK_S, Guesses
from controltower.collector.peer import Peer
from controltower.collector.status import Refusal
from controltower.collector.token_file import Token, create_token
from tests.collector.requests import Tower, request_of, span

GUESSER = Peer("http", "192.0.2.7")


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_token(tmp_path / "tokens.json", "erp", "north")
    return tmp_path / "tokens.json"


def refused(door: Door, guess: str, peer: Peer = GUESSER) -> Refusal:
    answer = door.sender(f"Bearer {guess}", peer)
    assert isinstance(answer, Refusal)
    return answer


def test_guessing_gets_slower_and_locks_out(path: Path) -> None:
    """The first mistakes cost nothing, then each one more, up to a limit; it is a 401 with a challenge all along."""
    door = Door(Tokens(path), monotonic=Clock())
    refusals = [refused(door, f"guess-{number}") for number in range(10_000)]
    delays = [refusal.delay_s for refusal in refusals]

    assert {refusal.http for refusal in refusals} == {401}
    assert all("WWW-Authenticate" in refusal.headers for refusal in refusals)
    assert delays[:FREE] == [0.0] * FREE
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY_S
    assert [refusal.reason for refusal in refusals[: LOCK_AFTER + 1]] == ["unauthenticated"] * LOCK_AFTER + [
        "locked_out"
    ]
    assert refusals[-1].headers["Connection"] == "close"


def test_a_valid_token_passes_beside_a_guesser(path: Path) -> None:
    """Who sends from the address of a guesser is not locked out with it."""
    door = Door(Tokens(path), monotonic=Clock())
    token = create_token(path, "edi", "south")
    for number in range(1_000):
        refused(door, f"guess-{number}")

    assert door.sender(f"Bearer {token}", GUESSER) == Sender("edi", "south")


def test_one_token_from_many_addresses_is_slowed_too(path: Path) -> None:
    """A token that is tried everywhere costs as much as an address from which all is tried."""
    door = Door(Tokens(path), monotonic=Clock())
    for number in range(30):
        last = refused(door, "leaked", Peer("http", f"192.0.2.{number}"))

    assert last.delay_s > 0.5
    assert last.reason == "locked_out"


def test_addresses_do_not_count_for_each_other(path: Path) -> None:
    """Another address starts with nothing; the addresses of one IPv6 network are one."""
    door = Door(Tokens(path), monotonic=Clock())
    for number in range(30):
        refused(door, f"a{number}", Peer("http", f"2001:db8::{number:x}"))

    assert refused(door, "b", Peer("http", "2001:db8::ffff")).delay_s > 0
    assert refused(door, "c", Peer("http", "2001:db8:0:1::1")).delay_s == 0
    assert refused(door, "d", Peer("http", "198.51.100.1")).delay_s == 0


def test_it_is_forgotten(path: Path) -> None:
    """A quarter of an hour without a refusal, and mistakes cost nothing again."""
    clock = Clock()
    door = Door(Tokens(path), monotonic=clock)
    for number in range(50):
        refused(door, f"guess-{number}")
    clock.now += FORGET_S + 1

    assert refused(door, "one more") == refused(Door(Tokens(path)), "first")


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.0, 1_000.0)), max_size=200), st.integers(1, 20))
def test_memory_and_penalties_are_bounded(tries: list[tuple[int, float]], most: int) -> None:
    """Whoever tries how often: no more is remembered, and nothing is held back longer, than the limits say."""
    guesses, now = Guesses(most), 0.0
    for who, pause_s in tries:
        now += pause_s
        brake = guesses.failed([f"address {who}"], now)

        assert len(guesses) <= most
        assert 0 <= brake.delay_s <= LONGEST_DELAY_S
        assert 0 <= brake.locked_s <= LONGEST_LOCK_S


def test_answers_are_held_without_holding_others(path: Path) -> None:
    """So many wait at the same time as there is memory for; the next one is answered at once."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await waiting.wait()

    async def held() -> int:
        door = Door(Tokens(path), monotonic=Clock(), sleep=sleep)
        refusal = [refused(door, f"guess-{number}") for number in range(10)][-1]
        tasks = [asyncio.create_task(door.hold(refusal)) for _ in range(MOST_HELD + 5)]
        while sum(task.done() for task in tasks) < 5:
            await asyncio.sleep(0)
        waiting.set()
        await asyncio.gather(*tasks)
        return len(tasks)

    waiting = asyncio.Event()

    assert asyncio.run(held()) == MOST_HELD + 5
    assert len(slept) == MOST_HELD


def test_the_log_tells_who_and_never_the_token(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line a minute and address, with how often; a bounded number of lines however many addresses there are."""
    clock = Clock()
    door = Door(Tokens(path), monotonic=clock)
    with caplog.at_level(logging.WARNING):
        for number in range(100):
            refused(door, f"secret-guess-{number}\r\nforged line")
        clock.now += 61
        refused(door, "secret-guess")
        for number in range(10_000):
            refused(door, "secret-guess", Peer("grpc", f"10.1.{number // 250}.{number % 250}"))

    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "refused a request over http from 192.0.2.7: its token is unknown (1 refusals)"
    assert "101 refusals" in lines[1]
    assert len(lines) < 30
    assert not [line for line in lines if "secret" in line or "\n" in line]


def test_over_the_wire(tower: Tower) -> None:
    """Guesses are refused before the body is read, and the one with a token is served between them."""
    guesses = [tower.send(request_of(span(1)), authorization=f"Bearer guess-{number}") for number in range(7)]
    honest = tower.send(request_of(span(1)))

    assert {answer.status for answer in guesses} == {401}
    assert {answer.headers["www-authenticate"] for answer in guesses} == {'Bearer realm="controltower"'}
    assert honest.status == 200
    assert tower.metrics.snapshot()["refusals"] == {"unauthenticated": 7}


@pytest.mark.parametrize("name", ["token", "access_token", "Api_Key", "authorization"])
def test_a_token_in_the_address_is_refused(tower: Tower, name: str) -> None:
    """Also beside a valid header: proxies and logs keep addresses."""
    answer = tower.send(request_of(span(1)), path=f"/v1/traces?a=b&{name}={tower.token}")

    assert answer.status == 401
    assert "invalid_request" in answer.headers["www-authenticate"]
    assert tower.token not in answer.refusal.message
    assert tower.stored() == []


def test_other_fields_of_the_address_do_not_matter(tower: Tower) -> None:
    """What some proxies add is passed over."""
    assert tower.send(request_of(span(1)), path="/v1/traces?tenant=north").status == 200


@pytest.mark.parametrize("kind", [Token("n", "0" * 64, scrape=True), Token("n", "0" * 64)])
def test_who_scrapes_does_not_send_and_the_other_way_round(path: Path, kind: Token) -> None:
    """A token that is in the settings of a monitoring system gives nobody leave to write."""
    token = create_token(path, "prometheus", scrape=kind.scrape)
    door = Door(Tokens(path), monotonic=Clock())
    sends, reads = door.sender(f"Bearer {token}", GUESSER), door.scraper(f"Bearer {token}", GUESSER)

    assert isinstance(sends, Refusal) is kind.scrape
    assert isinstance(reads, Refusal) is not kind.scrape
    assert {answer.http for answer in (sends, reads) if isinstance(answer, Refusal)} == {403}
