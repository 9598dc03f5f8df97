"""YAML files that people write: read into a model, every mistake with its line and field."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from controltower.store.errors import StoreError

KIND: Final = "kind"  # the field that tells models of a union apart

Problem = tuple[tuple[Hashable, ...], str]
"""Where in the data something is wrong, and what."""

M = TypeVar("M", bound=BaseModel)


class MistakesError(StoreError):
    """A file cannot be what it should be: line, field and problem of every mistake."""

    def __init__(self, problems: list[tuple[int, str, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{line}: {field}: {what}" for line, field, what in problems))


def read_model(model: type[M], text: str, first: str, contradictions: Callable[[M], Iterable[Problem]]) -> M:
    """Return the *model* that YAML *text* describes; *first* is the field such a file starts with.

    *contradictions* tells what is well formed and cannot be meant. MistakesError lists every problem of the first kind
    that there are any of: of the YAML, of the fields, of the meaning.
    """
    root, data = _read(text, first)
    try:
        read = model.model_validate(data)
    except ValidationError as exc:
        errors = [error for error in exc.errors() if not _follows(error, exc.errors())]
        raise MistakesError(sorted(_located(root, _place(error, data), _words(error)) for error in errors)) from exc
    if problems := sorted(_located(root, place, what) for place, what in contradictions(read)):
        raise MistakesError(problems)
    return read


def _read(text: str, first: str) -> tuple[yaml.MappingNode, object]:
    """Return the YAML as nodes, which know their lines, and as plain values."""
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise MistakesError([(1, first, f"the file must hold one mapping that starts with {first}: NAME")])
        if repeated := list(_repeated_fields(root)):
            raise MistakesError(repeated)
        return root, loader.construct_document(root)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise MistakesError([(line, "yaml", exc.problem or "not valid YAML")]) from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise MistakesError([(1, "yaml", " ".join(str(exc).split()))]) from exc


def _follows(error: Any, errors: list[Any]) -> bool:
    """Whether a list is only told to be too short because what it holds has mistakes of its own."""
    place = error["loc"]
    return error["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and len(other["loc"]) > len(place) for other in errors
    )


def _place(error: Any, data: Any) -> tuple[Hashable, ...]:
    """Return where an error is in the file, without the names of kinds that pydantic puts among its fields."""
    place: list[Hashable] = []
    for part in error["loc"]:
        if isinstance(data, dict) and part not in data and part == data.get(KIND):
            continue
        place.append(part)
        is_there = isinstance(data, dict) or (isinstance(data, list) and isinstance(part, int))
        data = data[part] if is_there and (isinstance(data, list) or part in data) else None
    if error["type"].startswith("union_tag_"):
        place.append(KIND)
    return tuple(place)


def _words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field"
    if error["type"] == "missing":
        return "is missing"
    return str(error["msg"]).removeprefix("Value error, ")


def _located(root: yaml.Node, place: tuple[Hashable, ...], what: str) -> tuple[int, str, str]:
    """Return (line, field, problem): the line of the deepest node of *place* that the file holds."""
    node, line = root, root.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    return line, field, what


def _repeated_fields(node: yaml.Node) -> Iterator[tuple[int, str, str]]:
    """YAML silently keeps the last of two equal fields; a rule lost that way is found by nobody."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                yield key.start_mark.line + 1, name, "stands here twice"
            seen.add(name)
            yield from _repeated_fields(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_fields(value)
