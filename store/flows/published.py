"""Which flows are in force: those that ship, unless another version was published, and those that were published besides."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from clickhouse_connect.driver.client import Client

from controltower.store.errors import FlowError
from controltower.store.flows.definition import Flow, SlaRule
from controltower.store.flows.files import load_packs, parse_flow
from controltower.store.queries import named
from controltower.store.reads.fetch import fetch
from controltower.store.rows import FlowVersion, Publication


def flow_versions(client: Client) -> tuple[FlowVersion, ...]:
    """Return what became of every publication, in order of time."""
    return fetch(client, named("select_flow_versions"), FlowVersion)


def flows_in_force(client: Client) -> tuple[Flow, ...]:
    """Return the flows by which the store's transactions are made, in order of their names."""
    return overlaid(load_packs(), published(flow_versions(client)))


def published(versions: Iterable[FlowVersion]) -> list[Flow]:
    """Return the last published version of each flow."""
    last = {each.flow: each for each in versions if each.state is Publication.PUBLISHED}
    return [parse_flow(each.text, f"{each.flow} version {each.version}") for each in last.values()]


def overlaid(flows: Iterable[Flow], others: Iterable[Flow]) -> tuple[Flow, ...]:
    """Return *flows* with *others* in place of those of their names, or besides."""
    named_flows = {flow.flow: flow for flow in (*flows, *others)}
    return tuple(named_flows[name] for name in sorted(named_flows))


def waiting(versions: Sequence[FlowVersion]) -> FlowVersion | None:
    """Return the publication that is ready and not taken over, if there is one."""
    done = {(each.flow, each.version, each.shadow) for each in versions if each.state is Publication.PUBLISHED}
    ready = (each for each in versions if each.state is Publication.READY)
    return next((each for each in ready if (each.flow, each.version, each.shadow) not in done), None)


@dataclass(frozen=True, slots=True)
class Watched:
    """Since when schedules are watched."""

    published: Mapping[tuple[str, str, str], datetime]  # flow, rule, whose steps it waits for
    otherwise: datetime  # those of flows that nobody published: since the store is read by them

    def since(self, flow: Flow, rule: SlaRule, subject: str) -> datetime:
        """Return since when a schedule is watched for one of whom it waits for."""
        return self.published.get((flow.flow, rule.name, subject), self.otherwise)


def published_since(versions: Iterable[FlowVersion], flows: Iterable[Flow]) -> dict[tuple[str, str, str], datetime]:
    """Return since when the schedules of *flows* that were published are as they are: with each change one begins anew, but for its
    severity and for whom else it waits."""
    scheduled = {flow.flow for flow in flows if flow.schedules}
    found: dict[str, dict[tuple[str, str], tuple[str, datetime]]] = {}
    for each in versions:
        if each.flow in scheduled and each.state is Publication.PUBLISHED:
            before = found.get(each.flow, {})
            found[each.flow] = {
                place: before[place] if place in before and before[place][0] == said else (said, each.at)
                for place, said in _schedules_of(each)
            }
    return {(flow, *place): at for flow, places in found.items() for place, (_, at) in places.items()}


def _schedules_of(version: FlowVersion) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield each schedule, for each of whom it waits for, with what it says."""
    try:
        flow = parse_flow(version.text, version.flow)
    except FlowError:
        return  # written for rules that were other ones then: what is in force is read
    for rule in flow.sla:
        if rule.every is not None:
            said = rule.model_dump_json(exclude={"severity": True, "each": {"values"}})
            yield from (((rule.name, subject), said) for subject in rule.subjects)
