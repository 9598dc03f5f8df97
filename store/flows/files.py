"""Flow files: those that ship and those of a site, read with the line of every mistake."""

from importlib.resources import files
from pathlib import Path

from controltower.store.errors import FlowError
from controltower.store.flows.contradictions import contradictions
from controltower.store.flows.definition import Flow
from controltower.store.yaml_lines import MistakesError, read_model


def load_packs() -> tuple[Flow, ...]:
    """Return the flows that ship with the product."""
    folder = files("controltower.store.flows") / "packs"
    packs = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name)
    return tuple(parse_flow(entry.read_text(encoding="utf-8"), entry.name) for entry in packs)


def load_flow(path: Path) -> Flow:
    """Read one flow file; FlowError lists every problem with its line and field."""
    return parse_flow(read_text(path), path)


def read_text(path: Path) -> str:
    """Return the text of a flow file; FlowError says why it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise FlowError(path, [(1, "file", f"cannot be read: {exc}")]) from exc


def parse_flow(text: str, file: Path | str) -> Flow:
    """Read a flow from YAML *text*; *file* names it in errors. FlowError lists every problem with its line and field."""
    try:
        return read_model(Flow, text, "flow", contradictions)
    except MistakesError as exc:
        raise FlowError(file, exc.problems) from exc
