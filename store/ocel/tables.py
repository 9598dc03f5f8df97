"""A staged log as tables: CSV and Parquet, a row for each event and, in a second file, one for each object.

The columns are those of OCEL 1.0 as CSV, which other tools read. What they have no place for is left out: qualifiers, relations
between objects, and of values that change all but the last.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from controltower.store.ocel.errors import OcelError
from controltower.store.ocel.staged import Staged
from controltower.store.ocel.writing import DECIMAL

EVENT: Final = ("ocel:eid", "ocel:activity", "ocel:timestamp")
OBJECT: Final = ("ocel:oid", "ocel:type")
OWN: Final = "ocel:"
OF_TYPE: Final = OWN + "type:"
ROWS: Final = 2_000  # of Parquet that are in memory

Row = dict[str, Any]


def objects_beside(path: Path) -> Path:
    """Return where the table of objects goes, beside that of events."""
    return path.with_name(f"{path.stem}.objects{path.suffix}")


def write_csv(staged: Staged, path: Path) -> None:
    """Write the tables as CSV to *path* and beside it; neither may be there. Lists are written as Python does.

    OcelError for an attribute that is called as a column; OSError.
    """
    for file, columns, rows in _tables(staged, path):
        with file.open("x", encoding="utf-8", newline="") as target:
            writer = csv.DictWriter(target, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)


def write_parquet(staged: Staged, path: Path) -> None:
    """Write the tables as Parquet to *path* and beside it; neither may be there.

    Times are texts in ISO 8601. Numbers are texts, too, with every digit they have, unless they are of our own store, which
    are decimals. OcelError for an attribute that is called as a column; OSError.
    """
    import pyarrow  # type: ignore[import-untyped]  # published without types; only who exports such files needs it
    from pyarrow import parquet

    kinds = {DECIMAL: pyarrow.decimal128(38, 6), "list": pyarrow.list_(pyarrow.string())}
    for file, columns, rows in _tables(staged, path):
        schema = pyarrow.schema([(name, kinds.get(kind, pyarrow.string())) for name, kind in columns.items()])
        with file.open("xb") as target, parquet.ParquetWriter(target, schema) as writer:
            for some in _batches(rows):
                typed = [
                    {name: Decimal(value) if columns[name] == DECIMAL else value for name, value in row.items()}
                    for row in some
                ]
                writer.write_table(pyarrow.Table.from_pylist(typed, schema))


def _tables(staged: Staged, path: Path) -> Iterator[tuple[Path, dict[str, str], Iterator[Row]]]:
    """Yield file, columns with the kinds of their values, and rows of both tables."""
    types = staged.types()
    lists = {OF_TYPE + type_: "list" for type_ in types.objects}
    yield path, {**dict.fromkeys(EVENT, "string"), **_attributes(types.events), **lists}, _events(staged, [*lists])
    yield (
        objects_beside(path),
        {**dict.fromkeys(OBJECT, "string"), **_attributes(types.objects)},
        _objects(staged),
    )


def _attributes(types: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return all attributes of some types; one that is of different kinds in two of them is a text."""
    found: dict[str, str] = {}
    for attributes in types.values():
        for name, kind in attributes.items():
            if name.startswith(OWN):
                raise OcelError(f"The attribute {name} is called as a column of OCEL's own; write the log as OCEL.")
            found[name] = kind if found.get(name, kind) == kind else "string"
    return found


def _events(staged: Staged, lists: list[str]) -> Iterator[Row]:
    for event, types in staged.each_typed_event():
        row: Row = dict(zip(EVENT, (event.id, event.type, event.time), strict=True)) | {name: [] for name in lists}
        for (object_id, _), type_ in zip(event.related, types, strict=True):
            if type_ and object_id not in row[OF_TYPE + type_]:
                row[OF_TYPE + type_].append(object_id)
        yield event.values | row


def _objects(staged: Staged) -> Iterator[Row]:
    for each in staged.each_object():
        yield {name: value for name, _, value in each.values} | dict(zip(OBJECT, (each.id, each.type), strict=True))


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    for row in rows:
        some.append(row)
        if len(some) == ROWS:
            yield some
            some = []
    yield some


TABLE_WRITERS: Final[Mapping[str, Callable[[Staged, Path], None]]] = {"csv": write_csv, "parquet": write_parquet}
