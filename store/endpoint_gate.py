"""Who may do what: decided on the engine's own syntax tree, never on the text.

The embedded engine has no users and would read any file of its process's owner: by table functions, by a function, by
``INTO OUTFILE``, by engines, disks and dictionaries, and because a table of its database ``default`` that does not
exist is a file. So kinds of statements, table functions and table engines are allowed by name; everything else is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controltower.store.address import FILES_DATABASE
from controltower.store.endpoint_errors import ACCESS_DENIED, INTO_OUTFILE_NOT_ALLOWED, READONLY, EndpointError
from controltower.store.endpoint_settings import Role, check_change, check_default

Tree = dict[str, Any]

READS: Final = frozenset(
    {
        "SelectWithUnionQuery",
        "SelectIntersectExceptQuery",
        "SelectQuery",
        "ExplainQuery",
        "ShowTablesQuery",
        "ShowColumnsQuery",
        "ShowIndexesQuery",
        "Describe",  # names that the reader of the text gives, see endpoint_text
        "Exists",
        "ShowCreate",
        "ShowProcesslist",
        "ShowFunctions",
    }
)
STATE: Final = frozenset({"SetQuery", "UseQuery"})  # of a session
WRITES: Final = frozenset(
    {
        "InsertQuery",
        "CreateQuery",
        "CreateIndexQuery",
        "CreateSQLFunctionQuery",
        "DropQuery",
        "DropIndexQuery",
        "DropFunctionQuery",
        "AlterQuery",
        "OptimizeQuery",
        "RenameQuery",
        "DeleteQuery",
        "UpdateQuery",
        "CheckTableQuery",
        "KillQueryQuery",
        "SystemQuery",
    }
)
SYSTEM_PREFIXES: Final = ("FLUSH_", "SYNC_", "START_", "STOP_", "WAIT_", "REFRESH_", "CLEAR_")
SYSTEM_REFUSED: Final = frozenset({"STOP_LISTEN", "START_LISTEN", "STOP_THREAD_FUZZER", "START_THREAD_FUZZER"})
ALTER_REFUSED: Final = ("FETCH_", "FREEZE_", "UNFREEZE_")

TABLE_FUNCTIONS: Final = frozenset(
    {
        "dictionary",
        "format",
        "generaterandom",
        "generate_series",
        "generateseries",
        "input",
        "null",
        "numbers",
        "numbers_mt",
        "primes",
        "values",
        "view",
        "viewexplain",
        "zeros",
        "zeros_mt",
    }
)
# None that reads or writes elsewhere, and none that takes another table's name as a text (Buffer, Merge).
ENGINES: Final = frozenset(
    {
        "aggregatingmergetree",
        "atomic",
        "coalescingmergetree",
        "collapsingmergetree",
        "generaterandom",
        "graphitemergetree",
        "join",
        "log",
        "materializedview",
        "memory",
        "mergetree",
        "null",
        "replacingmergetree",
        "set",
        "stripelog",
        "summingmergetree",
        "tinylog",
        "versionedcollapsingmergetree",
        "view",
    }
)
# Functions that read files, the program's binary, the request or another table by its name, or that ask a model.
FUNCTIONS_REFUSED: Final = frozenset(
    {
        "addresstoline",
        "addresstolinewithinlines",
        "addresstosymbol",
        "catboostevaluate",
        "file",
        "getclienthttpheader",
        "hascolumnintable",
        "structuretocapnprotoschema",
        "structuretoprotobufschema",
        *(f"ai{name}" for name in ("classify", "embed", "extract", "filter", "generate", "redact", "similarity")),
        "aitranslate",
    }
)


@dataclass(frozen=True, slots=True)
class Rights:
    """What the sender of a request may do."""

    role: Role
    read_only: bool  # a reader always; a writer that asked for it, or that used GET
    by_method: bool  # read-only because of GET
    caps: Mapping[str, float]
    functions_refused: frozenset[str]  # table functions of this engine that are not in TABLE_FUNCTIONS, in lower case


def check(kind: str, tree: Tree, parameters: Mapping[str, str], rights: Rights) -> None:
    """Raise EndpointError unless *rights* allow the statement that *tree* is; *parameters* fill its identifiers."""
    _check_kind(kind, tree, rights)
    for node in _nodes(tree):
        _check_output(node)
        _check_function(node, rights)
        _check_engines(node)
        _check_names(node, parameters)
        _check_settings(node, rights)


def _check_kind(kind: str, tree: Tree, rights: Rights) -> None:
    if kind in READS or kind in STATE:
        return
    if kind not in WRITES:
        raise EndpointError(ACCESS_DENIED, f"Not enough privileges. Statements of the kind {kind} are not offered here")
    if rights.read_only:
        hint = " For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries"
        raise EndpointError(READONLY, f"Cannot execute query in readonly mode{'.' + hint if rights.by_method else ''}")
    if kind == "SystemQuery":
        _check_system(str(tree.get("query_type", "")))


def _check_system(command: str) -> None:
    if not command.startswith(SYSTEM_PREFIXES) or command in SYSTEM_REFUSED:
        raise EndpointError(
            ACCESS_DENIED, f"Not enough privileges. SYSTEM {command.replace('_', ' ')} is not offered here"
        )


def _check_output(node: Tree) -> None:
    if "out_file" in node:
        raise EndpointError(INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed")
    if "infile" in node or node.get("has_attach_from_path") or node.get("attach_from_path"):
        raise EndpointError(ACCESS_DENIED, "Not enough privileges. Files of the server are not offered here")


def _check_function(node: Tree, rights: Rights) -> None:
    for key, value in node.items():
        if key.endswith("table_function") and isinstance(value, dict):
            _allow(str(value.get("name", "")), TABLE_FUNCTIONS, "Table function")
    if node.get("type") == "Function":
        name = str(node.get("name", "")).lower()
        if name in FUNCTIONS_REFUSED or name in rights.functions_refused:
            raise EndpointError(
                ACCESS_DENIED, f"Not enough privileges. The function {node['name']} is not offered here"
            )


def _check_engines(node: Tree) -> None:
    kind = str(node.get("type", ""))
    engine = node.get("engine")
    if isinstance(engine, dict):
        _allow(str(engine.get("name", "")), ENGINES, "Engine")
    if str(node.get("kind", "")).endswith("_ENGINE"):
        _allow(str(node.get("name", "")), ENGINES, "Engine")
    if node.get("is_dictionary") and kind == "CreateQuery":
        raise EndpointError(ACCESS_DENIED, "Not enough privileges. Dictionaries are not offered here")
    if kind == "AlterCommand" and str(node.get("command_type", "")).startswith(ALTER_REFUSED):
        raise EndpointError(ACCESS_DENIED, "Not enough privileges. This form of ALTER is not offered here")


def _check_names(node: Tree, parameters: Mapping[str, str]) -> None:
    parts = node.get("name_parts")
    if isinstance(parts, list) and len(parts) > 1 and parts[0] == FILES_DATABASE:
        raise _files_database()
    if node.get("type") == "QueryParameter" and node.get("param_type") == "Identifier":
        value = parameters.get(str(node.get("name", "")), "")
        if value.strip("`\"' ") == FILES_DATABASE or value.lstrip("`\"' ").startswith(f"{FILES_DATABASE}."):
            raise _files_database()
    for key, value in node.items():
        if "database" in key:
            name = value.get("name") if isinstance(value, dict) else value
            if name == FILES_DATABASE:
                raise _files_database()


def _check_settings(node: Tree, rights: Rights) -> None:
    if node.get("type") != "SetQuery":
        return
    for change in node.get("changes", ()):
        name, value = str(change.get("name", "")), change.get("value", {})
        if not name.startswith("param_"):
            check_change(name, value.get("value") if isinstance(value, dict) else value, rights.caps)
    for name in node.get("default_settings", ()):
        check_default(str(name), rights.caps)


def _allow(name: str, allowed: frozenset[str], what: str) -> None:
    if name.lower() not in allowed:
        raise EndpointError(ACCESS_DENIED, f"Not enough privileges. {what} {name} is not offered here")


def _files_database() -> EndpointError:
    return EndpointError(
        ACCESS_DENIED, f"Not enough privileges. The engine's database {FILES_DATABASE} is not offered here"
    )


def _nodes(tree: Any) -> Iterator[Tree]:
    """Yield every object of the tree, whatever it is called there."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
