"""Spans per second of a core for sources of class ``phi``, redacted before the journal: ``python -m bench.redaction``.

Requests as SDKs send them, each with numbers of its own, go through what the collector does between the body and the
journal, by the policy that ships and with a key; then the same requests without redaction, to tell the two apart, and
with patients' numbers for keys, all of which become tokens.
"""

import argparse
import random
import time
from collections.abc import Iterator
from typing import Final

from controltower.cli.bench.batches import template
from controltower.cli.bench.shape import SERVICES
from controltower.collector.admission import Limits, Redact, admit
from controltower.collector.otlp import TRACES
from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.redactor import Redactor
from controltower.collector.status import Refusal
from controltower.tracer.attributes import KEY
from controltower.tracer.tokens import Key

ROUNDS: Final = 5
PATIENTS: Final = {KEY + "purchase_order": KEY + "account", KEY + "invoice": KEY + "claim_pcn"}


def main() -> None:
    """Print a line for each size of request: the rounds' median, and the least and the most of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=[64, 512, 2048])
    parser.add_argument("--spans", type=int, default=20_480, help="of each round")
    options = parser.parse_args()
    redactor = Redactor(default_policy(), (Key(1, b"k" * 32),))
    for size in options.sizes:
        rounds = []
        for turn in range(ROUNDS + 1):
            bodies = list(_bodies(size, options.spans, turn))
            patients = [_of_patients(body) for body in bodies]
            taken = (cpu_s(bodies, redactor), cpu_s(patients, redactor), cpu_s(bodies, None))
            if turn:  # the first one warms up
                rounds.append([size * len(bodies) / each for each in taken])
        documents, numbers, plain = (sorted(rates) for rates in zip(*rounds, strict=True))
        print(
            f"{size:>6,} spans/request: {_spread(documents)}, patients' numbers {_spread(numbers)},"
            f" without redaction {_spread(plain)}",
            flush=True,
        )


def cpu_s(bodies: list[bytes], redact: Redact | None) -> float:
    """Return the processor time of taking *bodies* in, up to where the journal would have them."""
    began = time.process_time()
    for body in bodies:
        admitted = admit(TRACES, body, Limits(), redact=redact)
        if isinstance(admitted, Refusal):
            raise AssertionError(admitted.message)  # noqa: TRY004 - a value, not a type of the wrong kind
    return time.process_time() - began


def _bodies(size: int, spans: int, turn: int) -> Iterator[bytes]:
    randomness = random.Random(turn)
    templates = [template(size, service) for service in SERVICES]
    for number in range(max(1, spans // size)):
        made = templates[number % len(templates)]
        yield made.body(turn * 100_000 + number, time.time_ns(), randomness)


def _of_patients(body: bytes) -> bytes:
    """Return the request with the keys of its steps under the names of patients' numbers."""
    request = TRACES.generated.FromString(body)
    for spans in TRACES.lists(request):
        for pair in (pair for span in spans for pair in span.attributes if pair.key in PATIENTS):
            pair.key = PATIENTS[pair.key]
    serialised: bytes = request.SerializeToString()
    return serialised


def _spread(rates: list[float]) -> str:
    return f"{rates[len(rates) // 2]:,.0f} spans/s per core ({rates[0]:,.0f} to {rates[-1]:,.0f})"


if __name__ == "__main__":
    main()
