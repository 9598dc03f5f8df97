"""Which flows are in force: those that ship, unless another version was published, and those that were published besides."""

from collections.abc import Iterable, Sequence

from clickhouse_connect.driver.client import Client

from controltower.store.flows.definition import Flow, load_packs, parse_flow
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
