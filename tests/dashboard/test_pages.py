"""Each page has its states, keeps its state in the address, and shows data as text, never as HTML."""

from collections.abc import Callable, Mapping

import pytest
from clickhouse_connect.driver.client import Client
from streamlit.testing.v1 import AppTest

from controltower.dashboard.settings import STORE_VARIABLE
from controltower.store.rows import TransactionState
from tests.dashboard.scenario import CAUSE, LATE, NASTY

WAIT_S = 30


def _overview() -> None:
    from controltower.dashboard.views import overview

    overview.render()


def _transactions() -> None:
    from controltower.dashboard.views import transactions

    transactions.render()


def _transaction() -> None:
    from controltower.dashboard.views import transaction

    transaction.render()


def _kpis() -> None:
    from controltower.dashboard.views import kpis

    kpis.render()


def _parked() -> None:
    from controltower.dashboard.views import parked

    parked.render()


def _paths() -> None:
    from controltower.dashboard.views import paths

    paths.render()


def _sources() -> None:
    from controltower.dashboard.views import sources

    sources.render()


PAGES: Mapping[str, Callable[[], None]] = {
    "overview": _overview,
    "transactions": _transactions,
    "transaction": _transaction,
    "kpis": _kpis,
    "parked": _parked,
    "paths": _paths,
    "sources": _sources,
}
THE_LATE_ONE = {"flow": "procure_to_pay", "type": LATE.type, "scope": LATE.scope, "value": LATE.value}


def opened(name: str, **parameters: str) -> AppTest:
    """Open a page at an address."""
    app = AppTest.from_function(PAGES[name], default_timeout=WAIT_S)
    for parameter, value in parameters.items():
        app.query_params[parameter] = value
    app.run()
    assert not app.exception
    return app


def text_of(app: AppTest) -> str:
    """Return all HTML that a page shows."""
    return "\n".join(part.body for part in app.html)


def address(app: AppTest) -> dict[str, str]:
    """Return the parameters of the page's address."""
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


@pytest.mark.parametrize("name", [name for name in PAGES if name not in ("transaction", "sources")])
@pytest.mark.usefixtures("empty_store")
def test_empty_store_says_what_to_do_next(name: str) -> None:
    """Without data a page names the commands that bring some."""
    shown = text_of(opened(name))

    assert "No transactions yet" in shown
    assert "controltower up --demo" in shown
    assert "tracer.configure(" in shown


@pytest.mark.parametrize("name", PAGES)
def test_store_that_is_away_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer is said in one sentence, with a way to try again and no traceback."""
    monkeypatch.setenv(STORE_VARIABLE, "clickhouse://127.0.0.1:9/nowhere")
    app = opened(name, **(THE_LATE_ONE if name == "transaction" else {}))

    shown = text_of(app)

    assert "The data cannot be shown" in shown
    assert "does not answer" in shown or "cannot be opened" in shown
    assert "Traceback" not in shown
    assert [button.label for button in app.button] == ["Try again"]


def test_error_of_the_program_is_one_sentence_and_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours shows no traceback on the page; the log has it."""
    monkeypatch.setattr("controltower.dashboard.data.flows", lambda: 1 / 0)
    shown = text_of(opened("overview"))

    assert "could not be built" in shown
    assert "ZeroDivisionError" not in shown
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.usefixtures("filled_store")
def test_overview_counts_and_leads_to_what_it_counts() -> None:
    """The cards hold the figures and link to the list behind them."""
    app = opened("overview", flow="procure_to_pay", days="30")
    shown = text_of(app)

    assert ">61</div>" in shown
    assert "$1,250" in shown
    assert 'href="./transactions?flow=procure_to_pay&amp;late=1&amp;sort=at_stake"' in shown
    assert "Supplier acknowledges" in shown
    assert "Price variance" in shown
    assert "warehouse" in shown
    assert "quiet" in shown
    assert app.selectbox(key="widget_days").value == "30"


@pytest.mark.usefixtures("filled_store")
def test_a_common_cause_leads_from_the_overview_to_what_is_open_of_it() -> None:
    """What several exceptions share stands there with its money and leads to their transactions, until that is taken away."""
    shown = text_of(opened("overview"))
    assert "Common causes" in shown
    assert "$8,750" in shown
    assert f'href="./transactions?cause={CAUSE}&amp;sort=at_stake"' in shown

    app = opened("transactions", cause=CAUSE)
    assert "1 transaction<" in text_of(app)
    next(button for button in app.button if "one common cause" in button.label).click().run()
    assert address(app) == {}
    assert "62 transactions" in text_of(app)


@pytest.mark.usefixtures("filled_store")
def test_overview_shows_how_the_collectors_stand() -> None:
    """Lag, room, quarantine and refusals by reason, as they last said; one that says nothing is silent."""
    shown = text_of(opened("overview"))

    assert "tower-1:4318" in shown
    assert "behind" in shown
    assert "12 rows, 0 files" in shown
    assert "3.0 GiB" in shown
    assert "silent" in shown
    assert "no valid token" in shown
    assert "no room in the journal" in shown


@pytest.mark.usefixtures("empty_store")
def test_sources_say_how_to_begin() -> None:
    """Where nothing is scraped the page names the commands that do."""
    assert "controltower scrape show" in text_of(opened("sources"))


@pytest.mark.usefixtures("filled_store")
def test_sources_show_how_they_stand() -> None:
    """The worst first: why one fails, since when one is silent, how far one is behind, what was rejected and where."""
    shown = text_of(opened("sources"))

    order = [shown.index(word) for word in (">failing<", ">silent<", ">behind<", ">works<")]
    assert order == sorted(order)
    assert "PositionError: The folder is full." in shown
    assert "3.0 GiB" in shown
    assert "bad_amount, 9 min" in shown
    assert "/var/lib/controltower/scrape/erp_log/rejects.jsonl" in shown
    assert shown.index("orders.dead") < shown.index("billing")
    assert "2 h 5 min" in shown
    assert NASTY not in shown


@pytest.mark.usefixtures("filled_store")
def test_transactions_page_is_its_address() -> None:
    """The same address gives the same view; what makes no sense in it is ignored."""
    app = opened("transactions", state="breached", days="365", sort="nonsense", page="-4")

    assert "1 transaction" in text_of(app)
    assert LATE.value in text_of(app)
    assert app.selectbox(key="widget_state").value == "breached"
    assert app.selectbox(key="widget_days").value == "365"
    assert app.selectbox(key="widget_sort").value == "last_step_at"


@pytest.mark.usefixtures("filled_store")
def test_filter_writes_the_address_and_returns_to_the_first_page() -> None:
    """Choosing a filter changes the address; the page number of another list is dropped with it."""
    app = opened("transactions", page="2")
    assert "51 to 62" in text_of(app)

    app.selectbox(key="widget_state").select(TransactionState.COMPLETED.value).run()

    assert address(app) == {"state": "completed"}
    assert "1 to 1" in text_of(app)

    app.selectbox(key="widget_state").select("").run()
    assert address(app) == {}


@pytest.mark.usefixtures("filled_store")
def test_cause_from_the_overview_narrows_the_list_until_it_is_taken_away() -> None:
    """A rule and a reason in the address narrow the list, are named there, and go with a click."""
    app = opened("transactions", rule="three_way_match", reason="price_variance")
    assert "1 transaction<" in text_of(app)

    button = next(button for button in app.button if "Three-way match: Price variance" in button.label)
    button.click().run()

    assert address(app) == {}
    assert "62 transactions" in text_of(app)


@pytest.mark.usefixtures("filled_store")
def test_pages_turn_forward_and_back() -> None:
    """The buttons turn the page in the address; at either end one of them rests."""
    app = opened("transactions")
    back, ahead = (next(button for button in app.button if button.label == label) for label in ("Back", "Next"))
    assert (back.disabled, ahead.disabled) == (True, False)

    ahead.click().run()

    assert address(app) == {"page": "2"}
    assert [button.disabled for button in app.button if button.label == "Next"] == [True]


@pytest.mark.usefixtures("filled_store")
def test_search_by_any_key_finds_the_transaction() -> None:
    """The number of an invoice leads to its order."""
    app = opened("transactions")

    app.text_input(key="widget_q").input(" inv-9 ").run()

    assert address(app) == {"q": "inv-9"}
    assert LATE.value in text_of(app)
    assert "PO-2001" not in text_of(app)


@pytest.mark.usefixtures("filled_store")
def test_nothing_found_says_so_and_offers_the_way_back() -> None:
    """A search without a result is not an empty table."""
    assert "No transaction fits" in text_of(opened("transactions", q="PO-NOBODY"))


@pytest.mark.usefixtures("filled_store")
def test_data_is_shown_as_text() -> None:
    """What a sender put into a field is never HTML on a page."""
    shown = text_of(opened("transactions", state="completed"))

    assert NASTY not in shown
    assert "&lt;script&gt;" in shown


@pytest.mark.usefixtures("filled_store")
def test_transaction_says_where_it_stands() -> None:
    """The head gives state, money and one sentence on what it waits for."""
    shown = text_of(opened("transaction", **THE_LATE_ONE))

    assert "PO-1042" in shown
    assert "breached" in shown
    assert "It waits for “Supplier acknowledged”, which was due" in shown
    assert "$1,250.00" in shown
    assert "edi-gateway" in shown


@pytest.mark.parametrize(
    ("tab", "expected"),
    [
        ("path", "Hops between systems"),
        ("documents", "▲ $700.00"),
        ("deadlines", "late"),
        ("exceptions", "Line 1: price variance of 150.00 USD."),
        ("spans", "What its traces hold"),
        ("logs", "850 refused by the mailbox"),
        ("why", "It carries invoice INV-9 of V-7, which stands on one step with purchase order PO-1042 of GENERAL."),
        ("history", "supplier acknowledges: breached"),
    ],
)
@pytest.mark.usefixtures("filled_store")
def test_every_part_of_a_transaction_has_an_address(tab: str, expected: str) -> None:
    """Each part opens by the address and shows what it is for."""
    shown = text_of(opened("transaction", tab=tab, **THE_LATE_ONE))

    assert expected.lower() in shown.lower()


@pytest.mark.usefixtures("filled_store")
def test_key_alone_opens_the_transaction_it_leads_to() -> None:
    """An address with any key leads to its transaction; an unknown one says so."""
    assert "PO-1042" in text_of(opened("transaction", key="INV-9"))
    assert "Nothing is known of PO-NOBODY" in text_of(opened("transaction", key="PO-NOBODY"))
    assert "There is no such transaction" in text_of(opened("transaction", value="PO-NOBODY"))


@pytest.mark.usefixtures("filled_store")
def test_kpis_show_figure_and_definition() -> None:
    """No figure without its definition; one without a denominator says why."""
    shown = text_of(opened("kpis", days="365"))

    assert "SLA attainment" in shown
    assert "Of the deadlines that fell due in the time range" in shown
    assert "N(met in time) / N(met in time, met late, breached)" in shown
    assert "No order was paid in the time range." in shown


@pytest.mark.usefixtures("filled_store")
def test_parked_steps_say_why_they_wait() -> None:
    """A parked step shows its keys and its reason, an ambiguous one its candidates."""
    shown = text_of(opened("parked"))

    assert "2 steps" in shown
    assert "no link leads from invoice INV-404 to a purchase order" in shown
    assert "purchase order N/A (placeholder, ignored)" in shown
    assert "value=PO-1001" in shown


def test_filled_store_has_transactions(filled_store: Client) -> None:
    """The scenario is what the other tests count on."""
    assert filled_store.query("SELECT count() FROM transactions FINAL").first_item == {"count()": 62}


@pytest.mark.usefixtures("filled_store")
def test_paths_show_variants_hops_and_work() -> None:
    """The order of the stages, the way between systems, and the attempt that failed, each with a way to the longest one."""
    shown = text_of(opened("paths", days="365"))

    assert "Invoiced" in shown
    assert "edi-gateway" in shown
    assert "p2p.purchase_order.dispatched" in shown
    assert f"value={LATE.value}" in shown
    assert "Nothing was done twice." in shown
