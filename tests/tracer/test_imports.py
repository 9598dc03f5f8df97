"""What importing the tracer brings into a service: OpenTelemetry's SDK, and nothing that is needed later only."""

import json
import subprocess
import sys

from controltower.tracer.hooks import HOOKS

CODE = """
import json, sys
before = set(sys.modules)
import controltower.tracer
print(json.dumps(sorted(set(sys.modules) - before)))
"""
# Each costs more than all of the tracer's own modules: exporters and hooks bring them when they are used.
LATER = {
    "asyncio",
    "email",
    "http",
    "importlib.metadata",
    "multiprocessing",
    "sqlite3",
    "ssl",
    "urllib.request",
    "zipfile",
}
BROUGHT = {"opentelemetry", "typing_extensions", "controltower"}


def imported() -> set[str]:
    """Return the modules that ``import controltower.tracer`` adds in a new process."""
    ran = subprocess.run([sys.executable, "-P", "-c", CODE], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(ran.stdout))


def test_the_tracer_brings_opentelemetrys_sdk_and_nothing_else() -> None:
    """No exporter, no protobuf, no gRPC, none of the hooked libraries, and of Python's own modules no heavy one."""
    found = imported()
    libraries = {hook.module.partition(".")[0] for hook in HOOKS.values()}

    assert "opentelemetry.sdk.trace" in found
    assert {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names) <= BROUGHT
    assert {
        name for name in found if name.startswith(("opentelemetry.exporter", "opentelemetry.instrumentation"))
    } == set()
    assert found & (LATER | libraries) == set()
