"""The same questions about one log answered by the store and by pm4py, side by side in one run: ``python -m bench.mining``.

    python -m bench.mining LOG --map MAP.yaml [--flow procure_to_pay] [--rounds 5]

The log is imported by its map and resolved in a store of its own, exported, and the export is given to pm4py. Questions: how many
events has each document, how long took each transaction from its first event to its last, and which variants are there, how
often. The answers must be equal. pm4py is under the AGPL and no part of the product: ``pip install pm4py`` first.
"""

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controltower.collector.redaction.settings import read_redaction
from controltower.collector.scrapers.definition import load_map
from controltower.collector.scrapers.encoding import Request
from controltower.collector.scrapers.event_log import EventLogReader, of_file
from controltower.collector.scrapers.mapper import Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.store.address import parse_address
from controltower.store.client import Client, connect
from controltower.store.export import export_flow, object_id
from controltower.store.flows.definition import Flow
from controltower.store.flows.engine import Engine
from controltower.store.flows.files import load_packs
from controltower.store.loader import Segment, load_segment
from controltower.store.ocel.staged import Staged
from controltower.store.ocel.writing import write_json
from controltower.store.rows import Key
from controltower.store.schema import migrate
from controltower.tracer.journal.records import encode, envelope
from controltower.tracer.tokens import Tokeniser

EVENTS = """
SELECT type, scope, value, uniqExact(trace_id, span_id) FROM step_keys FINAL WHERE flow = {flow:String}
GROUP BY type, scope, value
"""
THROUGHPUT = """
SELECT anchor.type, anchor.scope, anchor.value, toUnixTimestamp64Micro(last_step_at) - toUnixTimestamp64Micro(started_at)
FROM transactions FINAL WHERE flow = {flow:String} AND anchor.type = {type:String}
"""
VARIANTS = """
SELECT variant, count() FROM (
    SELECT arrayMap(each -> each.4, arraySort(groupArray((steps.at, trace_id, span_id, steps.step)))) AS variant
    FROM (SELECT * FROM transaction_steps FINAL WHERE flow = {flow:String} AND anchor.type = {type:String}) AS members
    INNER JOIN (SELECT trace_id, span_id, at, step FROM steps FINAL WHERE flow = {flow:String}) AS steps USING (trace_id, span_id)
    GROUP BY anchor
) GROUP BY variant
"""


IN_ORDER = ["case:concept:name", "time:timestamp", "ocel:eid"]  # events at one time as the store has them


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of the three questions."""

    events: Mapping[str, int]  # by the object's id
    throughput_us: Counter[int]
    variants: Mapping[tuple[str, ...], int]


def main() -> None:
    """Import, export, ask both, compare, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("--map", type=Path, required=True)
    parser.add_argument("--flow", default="procure_to_pay")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    flow = next(flow for flow in load_packs() if flow.flow == options.flow)
    with tempfile.TemporaryDirectory(prefix="mining-") as name, closing(store_in(Path(name) / "store")) as client:
        folder = Path(name)
        steps = fill(client, flow, options.log, options.map, folder)
        exported = folder / "log.json"
        export_to(client, flow, exported, folder)
        anchor = flow.anchors[0]
        ours, ours_s = timed(lambda: by_store(client, flow.flow, anchor), options.rounds)
        reading_s, log = timed_once(lambda: read_by_pm4py(exported))
        theirs, theirs_s = timed(lambda: by_pm4py(log, anchor), options.rounds)
        assert ours == theirs, "the answers differ"
        print(f"{steps:,} steps, {len(ours.events):,} objects, {sum(ours.throughput_us.values()):,} transactions, "
              f"{len(ours.variants):,} variants: the answers are equal")  # fmt: skip
        print(f"store   {told(ours_s)} s of CPU for all three questions")
        print(f"pm4py   {told(theirs_s)} s, and {reading_s:.2f} s to read the log")
        print(f"ratio   {statistics.median(theirs_s) / statistics.median(ours_s):.1f} without reading")


def told(rounds: list[float]) -> str:
    """Return the median of some rounds, with the least and the most."""
    return f"{statistics.median(rounds):.3f} ({min(rounds):.3f} to {max(rounds):.3f})"


def store_in(folder: Path) -> Client:
    """Return a client of a new, empty store."""
    client = connect(parse_address(f"chdb://{folder}"))
    migrate(client)
    return client


def fill(client: Client, flow: Flow, log: Path, how: Path, folder: Path) -> int:
    """Import *log* by its map and resolve it; return how many steps it has."""
    source = of_file(load_map(how), log)
    mapper = Mapper(source, source.name, Policies(read_redaction({}).policy, Tokeniser(())), time.time_ns)
    steps = 0
    with closing(EventLogReader(source, time.time_ns)) as reader:
        caught_up = False
        while not caught_up:
            records, caught_up = reader.read()
            request = Request(source.service or source.name)
            for step in mapper.map(records, reader).steps:
                request.add(step)
            if len(request):
                segment = folder / f"segment-{steps}"
                message = request.encoded() + envelope(time.time_ns(), "")
                segment.write_bytes(b"".join(encode(message)[0]))
                load_segment(client, Segment(segment.name, "traces", segment))
            steps += len(request)
    Engine(client, [flow], lambda: datetime.now(UTC)).catch_up()
    return steps


def export_to(client: Client, flow: Flow, file: Path, folder: Path) -> None:
    """Write the flow as OCEL 2.0."""
    with closing(Staged(folder / "staged.sqlite")) as staged:
        export_flow(client, flow.flow, staged)
        staged.whole()
        write_json(staged, file)


# -- the store


def by_store(client: Client, flow: str, anchor: str) -> Answers:
    """Ask the store."""

    def rows(sql: str, **parameters: str) -> Any:
        return client.query(sql, parameters={"flow": flow, **parameters}).result_rows

    return Answers(
        events={object_id(Key(*key)): number for *key, number in rows(EVENTS)},
        throughput_us=Counter(lasted for *_, lasted in rows(THROUGHPUT, type=anchor)),
        variants={tuple(variant): number for variant, number in rows(VARIANTS, type=anchor)},
    )


# -- pm4py


def read_by_pm4py(file: Path) -> Any:
    """Return the log as pm4py has it."""
    import pm4py

    return pm4py.read_ocel2_json(str(file))


def by_pm4py(log: Any, anchor: str) -> Answers:
    """Ask pm4py: events that carry an object, durations and variants of the log flattened by the anchor's type."""
    import pm4py

    carried = log.relations[log.relations["ocel:qualifier"] == "carried"]
    flat = pm4py.ocel_flattening(log, anchor)
    cases = flat.groupby("case:concept:name")["time:timestamp"].agg(["min", "max"])
    lasted = (cases["max"] - cases["min"]).dt.total_seconds()
    variants = pm4py.get_variants(flat.sort_values(IN_ORDER).reset_index(drop=True))
    return Answers(
        events={str(id_): int(number) for id_, number in carried.groupby("ocel:oid")["ocel:eid"].nunique().items()},
        throughput_us=Counter(round(seconds * 1_000_000) for seconds in lasted),
        variants={tuple(map(str, variant)): int(number) for variant, number in variants.items()},
    )


# -- time


def timed(ask: Callable[[], Answers], rounds: int) -> tuple[Answers, list[float]]:
    """Return the answers, and the processor time of each round behind a first one."""
    answers = ask()
    return answers, [timed_once(ask)[0] for _ in range(rounds)]


def timed_once(ask: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor time of asking once, of all threads, and the answer."""
    began = time.process_time()
    answer = ask()
    return time.process_time() - began, answer


if __name__ == "__main__":
    main()
