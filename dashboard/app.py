"""Entry file of the dashboard: page configuration and navigation, nothing else."""

from importlib.resources import files

import streamlit as st

from controltower.dashboard.views import kpis, overview, parked, paths, sources, transaction, transactions

ASSETS = files("controltower.dashboard") / "assets"


def main() -> None:
    """Run the page that the address names."""
    st.set_page_config(page_title="Control Tower", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    st.logo(str(ASSETS / "logo.svg"), size="medium")
    st.html(f"<style>{(ASSETS / 'style.css').read_text(encoding='utf-8')}</style>")
    pages = [
        st.Page(overview.render, title="Overview", url_path="overview", default=True),
        st.Page(transactions.render, title="Transactions", url_path="transactions"),
        st.Page(transaction.render, title="Transaction", url_path="transaction", visibility="hidden"),
        st.Page(paths.render, title="Paths", url_path="paths"),
        st.Page(kpis.render, title="KPIs", url_path="kpis"),
        st.Page(parked.render, title="Parked steps", url_path="parked"),
        st.Page(sources.render, title="Sources", url_path="sources"),
    ]
    st.navigation(pages, position="top").run()


main()
