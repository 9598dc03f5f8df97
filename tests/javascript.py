"""Node.js with the stock OpenTelemetry packages for JavaScript."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

from tests.conftest import missing

# The last line that runs on Node.js 20. Those for metrics have a number of their own.
_LINE = "0.223.1"
PACKAGES = (
    "@opentelemetry/api@1.9.0",
    f"@opentelemetry/api-logs@{_LINE}",
    *(
        f"@opentelemetry/exporter-{signal}-otlp-{kind}@{version}"
        for signal, version in (("trace", _LINE), ("logs", _LINE), ("metrics", "0.223.0"))
        for kind in ("proto", "http", "grpc")
    ),
    "@opentelemetry/core@2.12.1",
    "@opentelemetry/resources@2.12.1",
    f"@opentelemetry/sdk-logs@{_LINE}",
    "@opentelemetry/sdk-metrics@2.12.1",
    "@opentelemetry/sdk-trace-base@2.12.1",
)
CACHE = Path.home() / ".cache" / "controltower-tests" / "javascript"


def node_modules() -> Path:
    """Return the folder with the packages, fetched once; skips when they cannot be had, fails in CI."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("Node.js and npm are not installed")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:  # two that fetch at once leave packages without half of their files
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fetch()
    return CACHE / "node_modules"


def _fetch() -> None:
    wanted = json.dumps(PACKAGES)
    stamp = CACHE / "installed.json"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    words = ["npm", "install", "--silent", "--no-save", "--no-audit", "--no-fund", "--prefix", str(CACHE), *PACKAGES]
    fetched = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300)
    if fetched.returncode != 0:
        missing(f"npm could not fetch the OpenTelemetry packages: {fetched.stderr.strip()[-200:]}")
    stamp.write_text(wanted, encoding="utf-8")


def run_node(script: str, folder: Path, **variables: str) -> None:
    """Run *script* with the packages at hand; what it says on standard error is a failure."""
    path = folder / "script.js"
    path.write_text(script, encoding="utf-8")
    environment = {"PATH": str(Path(shutil.which("node") or "node").parent), "NODE_PATH": str(node_modules())}
    ran = subprocess.run(
        ["node", str(path)], check=False, env={**environment, **variables}, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr
