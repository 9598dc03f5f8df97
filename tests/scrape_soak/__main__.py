"""The long version of the soak of scrapers.

python -m tests.scrape_soak --rounds 100 --transactions 2000 --seed 7 [--folder DIR]
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from tests.scrape_soak.run import Report, soak


def main() -> int:
    """Run a soak and print what came of it; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.scrape_soak")
    parser.add_argument("--rounds", type=int, default=100, help="each with a fault")
    parser.add_argument("--transactions", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--folder", type=Path, help="where the data lies while it runs")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="scrape-soak-", dir=arguments.folder) as folder:
        report = soak(
            Path(folder),
            arguments.rounds,
            arguments.transactions,
            arguments.seed,
            say=lambda text: print(text, flush=True),
        )
    print(shown(report))
    print("passed" if report.flawless else report.said + "\nFAILED")
    return 0 if report.flawless else 1


def shown(report: Report) -> str:
    """Return the report as text."""
    figures = report.figures
    shares = {name: figures[name] for name in ("membership", "state", "deadlines", "matches")}
    return "\n".join(
        [
            f"faults: {', '.join(f'{count} × {name}' for name, count in sorted(report.faults.items()))}",
            f"records: {report.records:,}; steps read: {report.steps:,}, lost: {report.records - report.steps:,}",
            f"spans: {report.spans:,}, read twice: {report.spans - report.steps:,}; stored twice: {report.rows - report.spans:,}",
            f"score: {json.dumps(shares)}",
            *(json.dumps(each) for each in figures["worst"][:5]),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
