"""The long version of the soak.

python -m tests.soak --minutes 30 --seed 7 [--embedded] [--folder DIR]
"""

import argparse
import logging
import random
import sys
import tempfile
from pathlib import Path

from tests.soak.run import Report, soak

MIB = 1024 * 1024


def main() -> int:
    """Run a soak and print what came of it; 1 when anything is wrong."""
    arguments = _arguments()
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the stock exporter tells of every retry
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-", dir=arguments.folder) as folder:
        report = soak(
            Path(folder),
            arguments.minutes * 60,
            arguments.seed,
            server=not arguments.embedded,
            say=lambda text: print(text, flush=True),
        )
    print(shown(report))
    good = report.verdict.flawless and report.memory.flat and report.verdict.replayed > 0
    print("passed" if good else report.log + "\nFAILED")
    return 0 if good else 1


def shown(report: Report) -> str:
    """Return the report as text."""
    verdict, memory = report.verdict, report.memory
    return "\n".join(
        [
            f"faults: {', '.join(f'{count} × {name}' for name, count in sorted(report.faults.items()))}",
            f"answers: {', '.join(f'{count} × {status}' for status, count in sorted(report.answers.items()))}",
            (
                f"spans: issued {verdict.issued:,}, acknowledged {verdict.acknowledged:,}, stored {verdict.stored:,}; "
                f"requests acknowledged again: {verdict.replayed:,}"
            ),
            f"acknowledged and lost: {verdict.missing} {verdict.examples or ''}",
            f"stored twice: {verdict.doubled} {verdict.twice or ''}",
            f"never issued: {verdict.spurious}, changed: {verdict.changed}",
            (
                f"damaged on purpose: {verdict.destroyed} spans, of these loaded before: {verdict.destroyed_and_stored}; "
                f"records not in quarantine: {verdict.not_in_quarantine}"
            ),
            f"everything loaded {report.loaded_s:.1f} s after the load",
            (
                f"memory without faults: {memory.first_bytes / MIB:.0f} MiB, then {memory.second_bytes / MIB:.0f} MiB, "
                f"at most {memory.peak_bytes / MIB:.0f} MiB"
            ),
        ]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--embedded", action="store_true", help="over the embedded engine, which dies with `serve`")
    parser.add_argument("--folder", type=Path, help="where the data lies while it runs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
