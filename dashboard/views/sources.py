"""Sources: how what is scraped is doing."""

import streamlit as st

from controltower.dashboard import data, page
from controltower.dashboard.data import SourcesData
from controltower.dashboard.markup import heading, notice, title
from controltower.dashboard.parts import sources as parts
from controltower.dashboard.settings import read_settings

REFRESH = "15s"


def render() -> None:
    """Show the page."""
    page.shown(_build)


def _build() -> None:
    settings = read_settings()
    page.html(title("Sources", "What scrapers read, as each source last said, every ten seconds. Times are UTC."))

    def body() -> None:
        page.shown(lambda: _sources(page.loading(lambda: data.sources(settings))))

    st.fragment(body, run_every=REFRESH)()


def _sources(found: SourcesData) -> None:
    if not found.sources:
        page.html(
            notice(
                "Nothing is scraped",
                "No source reported within 30 days. Logs, files, queues and tables of systems that nobody will "
                "instrument become steps like this:",
                commands=(
                    ("Take a ready file, and change it:", "controltower scrape show access_log > sources.yaml"),
                    ("See what would be sent:", "controltower scrape check sources.yaml"),
                    ("Scrape:", "controltower scrape sources.yaml"),
                ),
            )
        )
        return
    page.html(parts.figures(found.sources, found.at))
    page.html(parts.states(found.sources, found.at))
    if found.queues:
        page.html(heading("Queues", "as scrapers last said within an hour, the deepest first"))
        page.html(parts.queues(found.queues, found.at))
