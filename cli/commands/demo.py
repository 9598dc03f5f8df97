"""``controltower demo``: a simulated hospital network that sends its spans here."""

import signal
import threading
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from controltower.cli.children import end_with_parent
from controltower.cli.demo.live import HIGHEST_RATE, run_live
from controltower.cli.demo.model import Plan
from controltower.cli.demo.network import Network
from controltower.cli.demo.perturbing import perturbed
from controltower.cli.demo.plan import history
from controltower.cli.demo.report import next_words, showing, summary, written_words
from controltower.cli.demo.scenarios import NETWORK, SCENARIOS, Scenario
from controltower.cli.demo.sending import send_all
from controltower.cli.demo.target import Target, target
from controltower.cli.demo.truth import Truth, truth_of, write_truth
from controltower.cli.demo.waiting import wait_until_resolved
from controltower.cli.demo.written import write_logs
from controltower.cli.errors import CommandError
from controltower.cli.opening import reading
from controltower.cli.options import Subparsers, add_command, moment, positive
from controltower.cli.settings import Settings, read_settings
from controltower.store.truth_reads import progress

DEFAULT_SEED: Final = 7
DEFAULT_TRANSACTIONS: Final = 2000
DEFAULT_DAYS: Final = 60
MOST_TRANSACTIONS: Final = 50_000  # a seed's range of numbers; beyond it use several seeds
MOST_DAYS: Final = 3650
A_LITTLE: Final = timedelta(minutes=2)  # between the end of the history and now
MOST_OVER_S: Final = 86_400.0
SENDING: Final = ("live", "shuffle", "over", "endpoint", "token")


def register(subparsers: Subparsers) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "demo",
        "a simulated hospital network that sends its spans here",
        "Simulate a network of systems, with faults at known rates, and send every step through the SDK. "
        "Without a running `serve` one is started for as long as it takes.",
    )
    _add_plan(parser)
    _add_sending(parser)


def _add_plan(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--scenario",
        choices=tuple(SCENARIOS),
        default=NETWORK.name,
        help="; ".join(f"{each.name}: {each.title}" for each in SCENARIOS.values()),
    )
    parser.add_argument("--seed", type=_seed, default=DEFAULT_SEED, metavar="N", help="same seed, same network")
    parser.add_argument(
        "--transactions",
        type=_count,
        metavar="N",
        help=f"purchase orders, invoices without one, claims and so on (default {DEFAULT_TRANSACTIONS}; none with --live)",
    )
    parser.add_argument("--days", type=positive, default=DEFAULT_DAYS, metavar="N", help="of history (default 60)")
    parser.add_argument("--end", type=moment, metavar="TIME", help="when the history ends; default: a little ago")
    parser.add_argument(
        "--withhold-links",
        type=_percent,
        default=0.0,
        metavar="1%",
        help="of steps that link documents, leave out a key",
    )
    parser.add_argument(
        "--hub-keys",
        type=positive,
        default=0,
        metavar="N",
        help="put N numbers on requisitions, shipments and such that lead everywhere",
    )
    parser.add_argument("--truth", type=Path, metavar="FILE", help="write what really happened, for `score`")


def _add_sending(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--live",
        type=_rate,
        metavar="RATE",
        help="go on in real time with so many new transactions a minute until Ctrl-C",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FOLDER",
        help="send nothing: write what systems that nobody instruments would log, and sources.yaml to `scrape` it",
    )
    parser.add_argument("--shuffle", action="store_true", help="send the spans of the history in random order")
    parser.add_argument(
        "--over", type=_seconds, default=0.0, metavar="SECONDS", help="spread the sending over this time"
    )
    parser.add_argument("--endpoint", metavar="URL", help="collector to send to; default: the running serve's")
    parser.add_argument("--token", metavar="TOKEN", help="ingest token; default: the running serve's")


def run(arguments: Namespace) -> int:
    """Send the history, wait until it is resolved, and go on live when asked to."""
    if arguments.live and arguments.truth:
        raise CommandError("What really happens live is not known beforehand; use --truth without --live.")
    if arguments.write and (sends := [name for name in SENDING if getattr(arguments, name)]):
        raise CommandError(f"With --write nothing is sent; leave out --{sends[0]}.")
    if arguments.write:
        return _write(arguments)
    end_with_parent()
    settings = read_settings(arguments)
    with _stopping() as stop, target(settings, arguments.endpoint, arguments.token) as chosen:
        return _Run(arguments, settings, chosen, stop).run()


def _write(arguments: Namespace) -> int:
    """Write the history as logs, and say what to do with them."""
    scenario = SCENARIOS[arguments.scenario]
    transactions = DEFAULT_TRANSACTIONS if arguments.transactions is None else arguments.transactions
    plan, truth = _planned(arguments, scenario, transactions)
    sources, records = write_logs(arguments.write, plan)
    print(written_words(truth, sources, records, arguments.truth), flush=True)
    return 0


def _planned(arguments: Namespace, scenario: Scenario, transactions: int) -> tuple[Plan, Truth]:
    """Return what happens and the truth of it, which is written down when that is asked for."""
    end = arguments.end or (datetime.now(UTC) - A_LITTLE).replace(microsecond=0)
    plan = history(arguments.seed, transactions, arguments.days, end, scenario=scenario)
    plan = perturbed(plan, withhold=arguments.withhold_links, hubs=arguments.hub_keys)
    truth = truth_of(plan, requested=transactions, days=arguments.days, scenario=scenario.name)
    if arguments.truth:
        write_truth(arguments.truth, truth)
    return plan, truth


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set, for the length of the block."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Run:
    """One run of the command."""

    def __init__(self, arguments: Namespace, settings: Settings, chosen: Target, stop: threading.Event) -> None:
        self._arguments = arguments
        self._settings = settings
        self._chosen = chosen
        self._stop = stop
        self._scenario = SCENARIOS[arguments.scenario]
        self._since = time.monotonic()
        self._instance = uuid4().hex
        transactions = arguments.transactions
        self._transactions = (0 if arguments.live else DEFAULT_TRANSACTIONS) if transactions is None else transactions

    def run(self) -> int:
        """Do what was asked for; Ctrl-C ends it in order."""
        with closing(Network(self._chosen.endpoint, self._chosen.token, self._instance)) as network:
            try:
                if self._transactions:
                    self._history(network)
                if self._arguments.live:
                    self._live(network)
            except KeyboardInterrupt:
                print(f"Stopped; the collector acknowledged {network.acknowledged:,} spans.")
                return 130
        return 0

    def _history(self, network: Network) -> None:
        arguments = self._arguments
        plan, truth = _planned(arguments, self._scenario, self._transactions)
        with showing("sent") as say:
            sent = send_all(
                network,
                plan,
                shuffle=arguments.shuffle,
                over_s=arguments.over,
                wait=self._stop.wait,
                elapsed_s=self._elapsed_s,
                say=say,
            )
        network.finish(sent)
        sent_s = self._elapsed_s()
        if self._chosen.watched:
            self._wait(sent)
        print(summary(plan, truth, sent_s, self._elapsed_s() if self._chosen.watched else None))
        print(next_words(truth, arguments.truth, self._scenario), flush=True)

    def _wait(self, sent: int) -> None:
        with showing("loaded") as say, reading(self._settings) as client:
            wait_until_resolved(
                lambda: progress(client, self._instance),
                sent,
                wait=self._stop.wait,
                elapsed_s=self._elapsed_s,
                say=say,
            )

    def _live(self, network: Network) -> None:
        before = network.acknowledged
        print(
            f"Live: {self._arguments.live:g} new transactions a minute, each lives about ten minutes; Ctrl-C stops.",
            flush=True,
        )
        with showing("live: traces and spans") as say:
            sent = run_live(
                network,
                self._arguments.seed,
                self._arguments.live,
                self._scenario,
                now=lambda: datetime.now(UTC),
                wait=self._stop.wait,
                say=say,
            )
        network.finish(before + sent)
        print(f"Stopped; {sent:,} live spans were sent and acknowledged.")

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._since


def _seed(text: str) -> int:
    if not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) > MOST_TRANSACTIONS:
        raise ArgumentTypeError(f"{text!r} is not a whole number up to {MOST_TRANSACTIONS}; use several seeds for more")
    return int(text)


def _percent(text: str) -> float:
    return _number(text.removesuffix("%"), 100, "percent") / 100


def _rate(text: str) -> float:
    return _number(text, HIGHEST_RATE, "transactions a minute")


def _seconds(text: str) -> float:
    return _number(text, MOST_OVER_S, "seconds")


def _number(text: str, most: float, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= most:
        raise ArgumentTypeError(f"{text!r} is not a number of {unit} above 0 and up to {most:g}")
    return value
