"""``controltower flows``: what ships, and every mistake with its place."""

from importlib.resources import files
from pathlib import Path

from tests.cli.conftest import Run


def test_list_names_the_packs(run: Run) -> None:
    """The flows that ship are listed with their size."""
    ran = run("flows", "list")

    assert ran.code == 0
    assert "procure_to_pay" in ran.out


def test_list_as_json_names_stages_and_rules(run: Run) -> None:
    """The JSON names the stages and the deadlines of each flow."""
    (flow,) = [flow for flow in run("flows", "list", "--json").json["flows"] if flow["flow"] == "procure_to_pay"]

    assert flow["stages"][0] == {"name": "requested", "step": "p2p.requisition.created"}
    assert {"name": "supplier acknowledges", "from": "dispatched", "to": "acknowledged"} in flow["sla"]


def test_check_passes_what_ships(run: Run) -> None:
    """Each shipped flow is correct, with its examples."""
    packs = [str(pack) for pack in files("controltower.store.flows").joinpath("packs").iterdir()]
    ran = run("flows", "check", *packs)

    assert ran.code == 0
    assert ran.out.count("is correct") == len(packs)


def test_check_names_file_line_and_field(run: Run, tmp_path: Path) -> None:
    """An unknown field is refused with its place."""
    text = files("controltower.store.flows").joinpath("packs/procure_to_pay.yaml").read_text(encoding="utf-8")
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace("title: Procure to pay", "titel: Procure to pay", 1), encoding="utf-8")
    line = text.splitlines().index("title: Procure to pay") + 1
    ran = run("flows", "check", str(broken))

    assert ran.code == 1
    assert f"{broken}:{line}: titel: unknown field" in ran.err
    assert "Traceback" not in ran.err


def test_check_goes_on_after_a_mistake(run: Run, tmp_path: Path) -> None:
    """Every file is checked; one that is missing says so."""
    pack = str(files("controltower.store.flows").joinpath("packs/procure_to_pay.yaml"))
    ran = run("flows", "check", str(tmp_path / "absent.yaml"), pack)

    assert ran.code == 1
    assert "absent.yaml:1: file: cannot be read" in ran.err
    assert "is correct" in ran.out


def test_check_runs_the_examples(run: Run, tmp_path: Path) -> None:
    """An example that comes out differently is told with its line, what is and what should be."""
    text = files("controltower.store.flows").joinpath("packs/procure_to_pay.yaml").read_text(encoding="utf-8")
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace("order dispatched: met,", "order dispatched: breached,"), encoding="utf-8")
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "order dispatched: met," in line)
    ran = run("flows", "check", str(broken))

    assert ran.code == 1
    place = "examples[0].expect[0].deadlines"
    assert f"{broken}:{line}: {place}: is order dispatched: met, not order dispatched: breached" in ran.err


def test_check_tells_what_cannot_be_reached(run: Run, tmp_path: Path) -> None:
    """A stage that no outcome reaches, and a deadline that is met when it begins, are mistakes."""
    text = files("controltower.store.flows").joinpath("packs/procure_to_pay.yaml").read_text(encoding="utf-8")
    broken = tmp_path / "broken.yaml"
    text = text.replace("p2p.invoice.matched, outcomes: [ok]", "p2p.invoice.matched, outcomes: [duplicate]")
    broken.write_text(text.replace("from: created,    to: paid, ", "from: paid, to: paid, "), encoding="utf-8")
    ran = run("flows", "check", str(broken))

    assert "matched cannot be reached: no outcome but a duplicate counts" in ran.err
    assert "paid is reached when paid is: nothing is ever due" in ran.err
