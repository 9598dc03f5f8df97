"""What flows, stages and places are called, and the order they stand in; pure."""

from collections.abc import Iterable, Mapping

from controltower.dashboard.format import words
from controltower.store.flows.definition import Flow
from controltower.store.read import StageCount

Flows = Mapping[str, Flow]


def flow_title(flow: str, flows: Flows) -> str:
    """Return what a flow is called."""
    known = flows.get(flow)
    return known.title if known else words(flow)


def stage_titles(flows: Flows) -> dict[str, str]:
    """Return stage name -> title over all flows."""
    return {stage.name: stage.title or words(stage.name) for flow in flows.values() for stage in flow.stages}


def ordered_stages(stages: Iterable[StageCount], flows: Flows) -> list[StageCount]:
    """Return the stages in the order of their flows, those of unknown flows last."""

    def position(stage: StageCount) -> tuple[str, int, str]:
        flow = flows.get(stage.flow)
        return stage.flow, flow.stage_order.get(stage.stage, 1_000) if flow else 1_000, stage.stage

    return sorted(stages, key=position)


def stage_names(stages: Iterable[tuple[str, str]], flows: Flows) -> list[str]:
    """Return the names of (flow, stage) pairs in the order of their flows, each once."""
    counted = [StageCount(flow, stage, 0, 0, ()) for flow, stage in stages if stage]
    return list(dict.fromkeys(stage.stage for stage in ordered_stages(counted, flows)))
