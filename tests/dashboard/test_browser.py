"""The dashboard as people meet it: its own process, a real Chromium, a real store."""

import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from socket import create_server
from typing import TYPE_CHECKING

import pytest

from controltower.dashboard.launch import command, environment
from controltower.store.address import StoreAddress
from controltower.store.client import connect
from controltower.store.schema import migrate
from tests.dashboard.scenario import LATE, fill

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

pytestmark = [pytest.mark.browser, pytest.mark.server]

START_S = 60
SHOWN_MS = 60_000


@pytest.fixture
def dashboard(server_address: StoreAddress, tmp_path: Path) -> Iterator[str]:
    """The address of a dashboard over a filled store."""
    client = connect(server_address)
    migrate(client)
    fill(client, datetime.now(UTC))
    client.close()
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = f"clickhouse://{server_address.host}:{server_address.port}/{server_address.database}"
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        command(port), env=os.environ | environment(tmp_path, store), cwd=tmp_path, stdout=log, stderr=log
    )
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.close()


def _wait(health: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the dashboard answers; it tells nobody when it is ready."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(health, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the dashboard did not start")


def test_from_the_overview_to_one_transaction(page: "Page", dashboard: str) -> None:
    """A click on a figure leads to its list, a click there to one transaction; the address is the view."""
    page.set_default_timeout(SHOWN_MS)
    asked: list[str] = []

    def note(request: "Request") -> None:
        asked.append(request.url)

    page.on("request", note)
    page.goto(dashboard)
    page.get_by_text("Late now").click()
    page.get_by_role("link", name=LATE.value).click()
    page.get_by_text("It waits for").wait_for()
    page.locator(".js-plotly-plot").wait_for()

    assert re.search(r"/transaction\?flow=procure_to_pay&type=purchase_order&scope=GENERAL&value=PO-1042$", page.url)

    page.get_by_text("Documents and match").click()
    page.get_by_text("▲ $700.00").wait_for()
    page.wait_for_url("**tab=documents**")
    page.goto(page.url)
    page.get_by_text("▲ $700.00").wait_for()

    assert [url for url in asked if not url.startswith((dashboard, "data:", "blob:"))] == []


def test_search_filters_and_download(page: "Page", dashboard: str) -> None:
    """A key typed into the list finds its transaction and stands in the address; the file holds what fits."""
    page.set_default_timeout(SHOWN_MS)
    page.goto(f"{dashboard}/transactions")
    field = page.get_by_label("Number of any kind")
    field.fill("inv-9")
    field.press("Enter")
    page.wait_for_url("**/transactions?q=inv-9")
    page.get_by_text("1 transaction", exact=True).wait_for()
    with page.expect_download() as waiting:
        page.get_by_text("Download CSV").first.click()
    lines = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()

    assert len(lines) == 2
    assert lines[1].startswith("procure_to_pay,purchase_order,GENERAL,PO-1042,breached,invoiced,")
