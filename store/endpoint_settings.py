"""Which settings a request may change: none that reads a file, reaches the network or changes the language.

The gate reads statements with ClickHouse's grammar, so settings that change the grammar, or that hold an expression of
their own, would open a way around it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from controltower.store.endpoint_errors import ACCESS_DENIED, READONLY, SETTING_CONSTRAINT_VIOLATION, EndpointError

Role = Literal["writer", "reader"]

_DENIED: Final = re.compile(
    r"""
      (allow_experimental_|enable_|polyglot_)?\w*dialect        # another language than the one the gate reads
    | additional_table_filters | additional_result_filter       # hold an expression
    | parallel_replicas_custom_key\w* | cluster_for_parallel_replicas
    | format_template_\w+ | format_avro_schema_registry_\w+     # read a file, ask a server
    | output_format_schema | input_format_record_errors_file_path | rename_files_after_processing
    | into_outfile_\w+ | engine_file_\w+ | engine_url_\w+ | url_base | http_allow_\w+ | http_response_headers
    | allow_python_table_function | allow_experimental_eval_table_function | ai_\w+
    | disk | table_disk | storage_policy | dynamic_disk_\w+
    | profile | log_comment
    """,
    re.VERBOSE,
)
NAME: Final = re.compile(r"[A-Za-z_]\w*")
# A schema of messages comes as text in the request's address, never from a file: see endpoint_schemas.
SCHEMA: Final = "format_schema"
SCHEMA_SOURCE: Final = "format_schema_source"
SCHEMA_IS_TEXT: Final = "string"


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """What one query of a reader may take: applied when it asks for nothing, and the most it may ask for."""

    max_execution_time: float = 30  # seconds; a page that takes longer is not looked at any more
    longest_execution_time: float = 300
    max_memory_usage: int = 2 * 1024**3

    def defaults(self) -> dict[str, str]:
        """Return the settings that a reader starts with."""
        return {
            "max_execution_time": f"{self.max_execution_time:g}",
            "max_memory_usage": str(self.max_memory_usage),
        }

    def caps(self) -> dict[str, float]:
        """Return the most that a reader may ask for; 0, which lifts a limit in ClickHouse, is more than that."""
        return {"max_execution_time": self.longest_execution_time, "max_memory_usage": self.max_memory_usage}


def check_setting(name: str, value: Any, caps: Mapping[str, float]) -> None:
    """Raise EndpointError unless a request may set *name* to *value*; *caps* are those of its role."""
    if not NAME.fullmatch(name):
        raise EndpointError(115, f"Unknown setting '{name}'", "UNKNOWN_SETTING")
    if _DENIED.fullmatch(name) or (name == SCHEMA_SOURCE and value != SCHEMA_IS_TEXT):
        raise EndpointError(ACCESS_DENIED, f"Not enough privileges. The setting {name} cannot be changed here")
    if name == "readonly":
        raise EndpointError(READONLY, "Cannot modify 'readonly' setting in readonly mode")
    if name in caps and not 0 < _number(value) <= caps[name]:
        raise EndpointError(SETTING_CONSTRAINT_VIOLATION, f"Setting {name} shouldn't be greater than {caps[name]:g}")


def check_change(name: str, value: Any, caps: Mapping[str, float]) -> None:
    """Raise EndpointError unless a statement may set *name*: what a request may, but for what its address must hold."""
    if name in (SCHEMA, SCHEMA_SOURCE):
        raise EndpointError(ACCESS_DENIED, f"Not enough privileges. Give {name} as a parameter of the request")
    check_setting(name, value, caps)


def check_default(name: str, caps: Mapping[str, float]) -> None:
    """Raise EndpointError unless a request may put *name* back to the engine's default."""
    check_change(name, 0, caps)


_UNITS: Final = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}


def _number(value: Any) -> float:
    """Return a setting's number, with the suffixes that the engine knows; -1, which no cap allows, when it is none."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?i?)b?\s*", str(value), re.IGNORECASE)
    try:
        return float(found.group(1)) * _UNITS[found.group(2).lower()] if found else -1
    except (ValueError, KeyError):
        return -1
