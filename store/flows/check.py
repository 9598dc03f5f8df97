"""Checking a flow file completely: its fields, what they mean together, and its examples."""

from collections.abc import Iterable
from pathlib import Path

from controltower.store.errors import FlowError
from controltower.store.flows.contradictions import contradictions
from controltower.store.flows.definition import Flow
from controltower.store.flows.examples import failures
from controltower.store.flows.files import read_text
from controltower.store.yaml_lines import MistakesError, Problem, read_model


def check_flow(path: Path) -> Flow:
    """Return the flow in a file; FlowError lists every problem with its line and field, failing examples included."""
    try:
        return read_model(Flow, read_text(path), "flow", _problems)
    except MistakesError as exc:
        raise FlowError(path, exc.problems) from exc


def _problems(flow: Flow) -> Iterable[Problem]:
    return list(contradictions(flow)) or failures(flow)  # a contradiction is told, not tried
