"""Forms: long parameters, and tables that come with a request."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from controltower.store.endpoint_errors import BAD_ARGUMENTS, EndpointError
from controltower.store.endpoint_text import DEFAULT_FORMAT

MOST_PARTS: Final = 1000
_PARAMETER: Final = re.compile(r';\s*(\w+)="((?:[^"\\]|\\.)*)"|;\s*(\w+)=([^;"\s]+)')
NAME: Final = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form; a file has a file name."""

    name: str
    content: bytes
    is_file: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table that comes with a request."""

    name: str
    structure: str
    format: str
    data: bytes


def boundary(content_type: str) -> str | None:
    """Return the boundary of a form's parts; None when the content is no form."""
    kind, _, rest = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        return None
    found = dict(_parameters(f";{rest}")).get("boundary")
    if not found:
        raise EndpointError(BAD_ARGUMENTS, "The form has no boundary")
    return found


def parts(body: bytes, mark: str) -> list[Part]:
    """Return the parts of a form. Raises EndpointError when it is none."""
    delimiter = b"--" + mark.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise EndpointError(BAD_ARGUMENTS, "The form is not complete")
    if len(pieces) > MOST_PARTS + 2:
        raise EndpointError(BAD_ARGUMENTS, f"The form has more than {MOST_PARTS} parts")
    return [_part(piece) for piece in pieces[1:-1]]


def tables(files: list[Part], given: Mapping[str, str]) -> list[Table]:
    """Return the tables that come as files; their structure stands in the parameters."""
    return [_table(part, given) for part in files]


def _table(part: Part, given: Mapping[str, str]) -> Table:
    structure = given.get(f"{part.name}_structure")
    if not structure and f"{part.name}_types" in given:
        types = given[f"{part.name}_types"].split(",")
        structure = ", ".join(f"_{number} {kind.strip()}" for number, kind in enumerate(types, start=1))
    if not NAME.fullmatch(part.name):
        raise EndpointError(BAD_ARGUMENTS, f"An external table cannot be called {part.name!r}")
    if not structure:
        raise EndpointError(
            BAD_ARGUMENTS, f"Neither structure nor types have not been provided for external table {part.name}"
        )
    return Table(part.name, structure, given.get(f"{part.name}_format") or DEFAULT_FORMAT, part.content)


def own_names(files: list[Part]) -> set[str]:
    """Return the parameters that describe the tables, so that they are not taken for settings."""
    return {f"{part.name}_{what}" for part in files for what in ("structure", "types", "format")}


def _part(piece: bytes) -> Part:
    head, separator, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not separator:
        raise EndpointError(BAD_ARGUMENTS, "A part of the form has no content")
    for line in head.decode("utf-8", "replace").split("\r\n"):
        header, _, value = line.partition(":")
        if header.strip().lower() == "content-disposition":
            said = dict(_parameters(value))
            return Part(said.get("name", ""), content, "filename" in said)
    raise EndpointError(BAD_ARGUMENTS, "A part of the form has no name")


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for quoted, value, bare, word in _PARAMETER.findall(text):
        yield ((quoted or bare).lower(), re.sub(r"\\(.)", r"\1", value) if quoted else word)
