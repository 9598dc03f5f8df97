"""Fixtures of the command's tests: run it in this process, or as a process of its own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from controltower.cli.main import main
from controltower.store.address import StoreAddress


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of the command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, parsed."""
        return json.loads(self.out)


Run = Callable[..., Ran]
PACK = files("controltower.store.flows").joinpath("packs/procure_to_pay.yaml").read_text(encoding="utf-8")
JOINED = "invoice:             {parent: purchase_order, shared: true,"
PAID_FAST = (
    "within: 45 days,         severity: warning, per: invoice",
    "within: 10 days, severity: warning, per: invoice",
)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process with a data folder of its own: ``run("trace", "PO-1")``."""
    monkeypatch.setenv("CONTROLTOWER_DATA", str(tmp_path / "data"))

    def run(*words: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as exc:  # argparse leaves this way
            code = int(exc.code or 0)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture
def run_on(run: Run) -> Callable[[StoreAddress], Run]:
    """Run the command on a store."""
    return lambda address: lambda *words: run(*words, "--store", text_of(address))


def text_of(address: StoreAddress) -> str:
    """Return an address as a user writes it, the password included."""
    if address.embedded:
        return f"chdb://{address.path}?database={address.database}"
    return f"{address.scheme}://{address.user}:{address.password}@{address.host}:{address.port}/{address.database}"


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A second version of the pack in which invoices lead to no order."""
    text = PACK.partition("\nexamples:")[0].replace("version: 1", "version: 2").replace(*PAID_FAST)
    assert JOINED in text
    file = tmp_path / "changed.yaml"
    file.write_text(text.replace(JOINED, "invoice: {shared: true,"), encoding="utf-8")
    return file
