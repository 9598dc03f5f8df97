"""What every page has in common: the four states loading, empty, error and data."""

import logging
from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from controltower.dashboard import markup
from controltower.dashboard.charts import Chart
from controltower.store.errors import NoTablesError, StoreError

logger = logging.getLogger(__name__)

T = TypeVar("T")

SNIPPET = """\
from controltower import tracer

tracer.configure(service="erp-adapter", endpoint="http://127.0.0.1:4318", token="...")
with tracer.step("p2p.purchase_order.created", keys={"purchase_order": "PO-1042"}, amount="1250.00", currency="USD"):
    ...
"""


def shown(build: Callable[[], None]) -> None:
    """Build a page; what goes wrong becomes one sentence on it, and its details go to the log."""
    try:
        build()
    except NoTablesError:
        empty()
    except StoreError as exc:
        failed(str(exc))
    except Exception:
        logger.exception("building a page")
        failed("This page could not be built. The details are in the dashboard's log.")


def loading(question: Callable[[], T], *, height: int = 320) -> T:
    """Return the answer to *question*; the page shows that it is on its way."""
    with st.skeleton(height=height):
        return question()


def html(content: markup.Html) -> None:
    """Show HTML that was built from escaped text."""
    st.html(content)


def chart(figure: Chart, *, key: str) -> None:
    """Show a chart as it was made, without the tool bar of its library."""
    st.plotly_chart(figure, key=key, theme=None, config={"displayModeBar": False})


def empty() -> None:
    """Say that nothing has arrived yet, and what to do next."""
    html(
        markup.notice(
            "No transactions yet",
            "Control Tower is ready and has not received a business step. Do one of these:",
            commands=(
                ("See it with a simulated hospital network, everything on this machine:", "controltower up --demo"),
                ("Fill this store with two months of history:", "controltower demo --transactions 500 --days 60"),
                ("Instrument a service of yours (the token is in tokens.json of the data folder):", SNIPPET.strip()),
                ("Check that the parts run and reach each other:", "controltower doctor"),
            ),
        )
    )


def nothing(head: str, text: markup.Cell) -> None:
    """Say that the page's filters leave nothing, and what would."""
    html(markup.notice(head, text))


def failed(sentence: str) -> None:
    """Say in one sentence what went wrong."""
    html(markup.notice("The data cannot be shown", sentence, tone="bad"))
    st.button("Try again", key="again")
