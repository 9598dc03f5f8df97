"""Runs, files and the tasks of the financial close: what outsourced partners and nightly jobs are expected to do, and do."""

from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Final

from controltower.cli.demo.journey import (
    Fault,
    Journey,
    Leg,
    Traveller,
    after_business_days,
    hours,
    minutes,
    moments,
    worked,
)
from controltower.cli.demo.published import anchor
from controltower.cli.demo.simulation import Simulation
from controltower.cli.demo.travelling import travel
from controltower.cli.demo.workdays import ZONE

FLOW: Final = "batch_and_file"
INTERFACES: Final = ("claims-out", "remits-in", "statements-out", "gl-extract", "item-catalogue")
TASKS: Final = ("accruals", "bank-reconciliation", "intercompany", "inventory-valuation")
CLOSE: Final = 0.2  # of what is planned: tasks of the close

JOURNEY: Final = Journey(
    FLOW,
    fallback="slot",
    about=("file",),
    legs=(
        Leg("batch.run.expected", "scheduler", "batch", ("slot",), moments(0, 1), interface="calendar",
            states={"grace_s": "1800"}, money=False),
        Leg("batch.run.started", "revenue-partner", "batch", ("run", "slot"), minutes(0.2, 25), interface="partner-jobs",
            money=False, faults=(Fault("run_missed", 0.02, "lost", ends=True),
                                 Fault("run_started_late", 0.04, "late", minutes(31, 300)))),
        Leg("batch.file.produced", "revenue-partner", "file", ("run", "file"), minutes(3, 50), each="file",
            interface="partner-files", money=False),
        Leg("batch.file.transferred", "file-gateway", "file", ("file",), minutes(1, 12), each="file",
            interface="sftp-inbound", money=False,
            faults=(Fault("transfer_failed", 0.04, "failed", minutes(2, 60), reason="connection"),
                    Fault("transferred_late", 0.02, "late", minutes(16, 200)))),
        Leg("batch.file.received", "file-gateway", "file", ("file",), moments(5, 200), each="file",
            interface="sftp-inbound", money=False,
            faults=(Fault("file_lost", 0.01, "lost", ends=True),
                    Fault("file_sent_again", 0.03, "duplicate", hours(0.5, 30)))),
        Leg("batch.file.validated", "file-gateway", "edi", ("file", "interchange"), moments(10, 600), each="file",
            own={"interchange": "ISA"}, interface="envelope-check", money=False,
            faults=(Fault("checksum_mismatch", 0.03, "rejected", hours(1, 20), reason="checksum_mismatch", never=0.2),
                    Fault("validated_late", 0.02, "late", minutes(16, 120)))),
        Leg("batch.record.loaded", "erp", "batch", ("file",), minutes(1, 40), each="file", interface="file-load"),
        Leg("batch.run.completed", "revenue-partner", "batch", ("run",), hours(1, 3.5), after="batch.run.started",
            interface="partner-jobs", money=False,
            faults=(Fault("run_overran", 0.03, "late", hours(3.6, 9)), Fault("run_never_ended", 0.01, "lost"))),
        Leg("batch.run.acknowledged", "file-gateway", "edi", ("run",), hours(0.2, 3.5), after="batch.file.transferred",
            interface="acknowledgements", money=False,
            faults=(Fault("run_unacknowledged", 0.02, "lost"),
                    Fault("run_acknowledged_late", 0.03, "late", hours(4.1, 20)))),
        Leg("batch.file.archived", "file-gateway", "batch", ("file",), hours(2, 20), each="file", interface="archive",
            money=False),
    ),
)  # fmt: skip

TASK: Final = Journey(
    FLOW,
    legs=(
        Leg("batch.close_task.started", "erp", "batch", ("close_task",), minutes(1, 30), interface="financial-close",
            context=("period",), money=False, actor="human"),
        Leg("batch.close_task.completed", "erp", "batch", ("close_task",), worked(0.5, 7), interface="financial-close",
            context=("period",), money=False, actor="human",
            faults=(Fault("close_task_late", 0.08, "late", after_business_days(1, hours(1, 30))),
                    Fault("close_task_open", 0.04, "lost"))),
    ),
)  # fmt: skip


def plan_files(sim: Simulation, wanted: int) -> None:
    """Write down what becomes of so many expected runs and tasks of the close."""
    tasks = round(wanted * CLOSE)
    travel(sim, JOURNEY, _runs(sim, wanted - tasks))
    _tasks(sim, tasks)


def _runs(sim: Simulation, wanted: int) -> list[Traveller]:
    """Return the runs of a calendar: each at a time of its own."""
    chance = sim.chance("runs")
    every = (sim.orders_until - sim.start) / max(1, wanted)
    runs = []
    for number in range(wanted):
        at = (sim.start + every * number).replace(second=0, microsecond=0)
        interface = INTERFACES[number % len(INTERFACES)]
        run = sim.number("run", "PARTNER-")
        files = tuple(
            f"partner|{interface}-{part}|{sha256(f'{run} {part}'.encode()).hexdigest()}"
            for part in range(1, chance.random.randint(2, 4))
        )
        slot = f"{interface}|{at.astimezone(ZONE).isoformat()}|{sim.seed}"
        keys = {"run": (run,), "slot": (slot,), "file": files}
        worth = Decimal(chance.random.randint(1_000, 90_000))
        runs.append(Traveller(FLOW, anchor(FLOW, "run", run, {}), at, keys, {}, worth))
    return runs


def _tasks(sim: Simulation, wanted: int) -> None:
    tasks = []
    for number, at in enumerate(sim.times("close", wanted)):
        context = {"period": f"{at - timedelta(days=28):%Y-%m}"}
        task = f"{context['period']}|{TASKS[number % len(TASKS)]}|{sim.number('close_task', 'T-')}"
        tasks.append(Traveller(FLOW, anchor(FLOW, "close_task", task, {}), at, {"close_task": (task,)}, context))
    travel(sim, TASK, tasks)
