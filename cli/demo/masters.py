"""Master data: a new version of a supplier, item or price, until each system that needs it has applied it."""

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

FLOW: Final = "master_data"
ENTITIES: Final = ("supplier", "item", "price", "location", "cost_centre")
SUBSCRIBERS: Final = ("erp", "requisition-saas", "revenue-partner", "warehouse")

JOURNEY: Final = Journey(
    FLOW,
    about=("mdm_leg",),
    legs=(
        Leg("mdm.change.requested", "mdm-saas", "api", ("mdm_version",), minutes(1, 60), interface="changes",
            money=False, actor="human"),
        Leg("mdm.change.approved", "mdm-saas", "api", ("mdm_version",), worked(0.5, 7), interface="approvals",
            money=False, actor="human",
            faults=(Fault("approval_slow", 0.05, "late", after_business_days(1, hours(1, 30))),
                    Fault("change_refused", 0.03, "rejected", reason="duplicate_entity", ends=True))),
        Leg("mdm.version.published", "mdm-saas", "event", ("mdm_version",), minutes(1, 30), interface="versions",
            money=False, publishes="master.data"),
        Leg("mdm.version.delivered", "integration-hub", "event", ("mdm_version", "mdm_leg"), moments(3, 400),
            each="mdm_leg", interface="master.data", money=False,
            faults=(Fault("version_not_delivered", 0.02, "lost", ends=True),
                    Fault("version_delivered_late", 0.03, "late", minutes(16, 600)))),
        Leg("mdm.version.applied", "integration-hub", "api", ("mdm_leg",), minutes(1, 50), each="mdm_leg",
            interface="subscribers", money=False,
            faults=(Fault("version_applied_late", 0.04, "late", hours(1.1, 40)),
                    Fault("version_not_applied", 0.015, "lost", ends=True),
                    Fault("version_refused", 0.04, "rejected", hours(0.5, 30), reason="cross_reference_missing",
                          never=0.3, ends=True))),
        Leg("mdm.version.verified", "integration-hub", "batch", ("mdm_leg",), hours(0.5, 20), each="mdm_leg",
            interface="read-back", money=False,
            faults=(Fault("version_not_verified", 0.02, "lost"),
                    Fault("version_verified_late", 0.03, "late", hours(24.1, 60)))),
    ),
)  # fmt: skip


def plan_versions(sim: Simulation, wanted: int) -> None:
    """Write down how so many versions come to their subscribers."""
    chance = sim.chance("versions")
    versions = []
    for number, at in enumerate(sim.times("versions", wanted)):
        entity = ENTITIES[number % len(ENTITIES)]
        version = f"{entity}|{sim.number('mdm_version', 'G-')}|{chance.random.randint(1, 9)}"
        subscribers = chance.random.sample(SUBSCRIBERS, chance.random.randint(2, len(SUBSCRIBERS)))
        keys = {"mdm_version": (version,), "mdm_leg": tuple(f"{version}|{each}" for each in subscribers)}
        versions.append(Traveller(FLOW, anchor(FLOW, "mdm_version", version, {}), at, keys, {}))
    travel(sim, JOURNEY, versions)
