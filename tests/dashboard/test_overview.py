"""The overview's tables, from what the store answers."""

from datetime import UTC, datetime

import pytest

from controltower.dashboard.parts.overview import reasons, rules
from controltower.store.read import ReasonCount, RuleCount

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def broken(flow: str, rule: str) -> RuleCount:
    """A rule with one broken deadline."""
    return RuleCount(flow, rule, "page", 1, 0, 0, 0, 0, NOW, None, ())


def test_rules_of_one_name_are_told_apart_by_their_flow() -> None:
    """Two flows have a rule of one name: each row says whose it is, and its number leads to that flow's transactions."""
    shown = rules([broken("implant", "invoice matched"), broken("procure_to_pay", "invoice matched")], NOW, str.upper)

    assert "IMPLANT" in shown
    assert "flow=implant&amp;rule=invoice+matched" in shown
    assert "flow=procure_to_pay&amp;rule=invoice+matched" in shown


def test_rules_of_one_flow_do_not_repeat_it() -> None:
    """Where there is nothing to tell apart, nothing is added."""
    assert "IMPLANT" not in rules([broken("implant", "invoice matched")], NOW, str.upper)


def test_a_source_that_is_not_well_leads_to_the_sources() -> None:
    """It is of no transaction, so that there is no list to narrow."""
    shown = reasons([ReasonCount("source", "source is well", "failing", 1, 0, NOW, ())], NOW, "")

    assert 'href="./sources"' in shown
    assert ">Source<" in shown
    assert "transactions?" not in shown


@pytest.mark.parametrize(("kind", "label"), [("silent", "Source"), ("gap", "Gap"), ("schedule", "Schedule")])
def test_what_is_of_no_transaction_leads_to_none(kind: str, label: str) -> None:
    """A source, a number and a time at which nothing came are told, and have no list to lead to."""
    shown = reasons([ReasonCount(kind, "remittance file", "missed", 2, 0, NOW, ())], NOW, "")

    assert f">{label}<" in shown
    assert "Missed" in shown
    assert "href" not in shown
