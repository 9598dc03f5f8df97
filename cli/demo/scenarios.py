"""The situations that can be simulated: who takes part, and which part of the transactions goes through which flow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from controltower.cli.demo import claims, customers, files, implants, masters, stock
from controltower.cli.demo.answering import plan_answers
from controltower.cli.demo.delivering import plan_receipts, plan_shipments
from controltower.cli.demo.dispatching import plan_dispatch
from controltower.cli.demo.invoicing import plan_invoices
from controltower.cli.demo.ordering import plan_orders
from controltower.cli.demo.paying import plan_payments
from controltower.cli.demo.registering import plan_vouchers
from controltower.cli.demo.simulation import Simulation

Stays = list[claims.Stay]  # of patients in whom something was implanted: their claims are for them
Planner = Callable[[Simulation, int, Stays], None]  # writes down what becomes of so many transactions


@dataclass(frozen=True, slots=True)
class Scenario:
    """A situation: its flows, each with its part of the transactions."""

    name: str
    title: str
    parts: Mapping[str, float]
    tells: str = ""  # the flow in which to look for what the situation is about

    @property
    def flows(self) -> tuple[str, ...]:
        """The flows, in the order in which they are simulated."""
        return tuple(self.parts)

    def plan(self, sim: Simulation, transactions: int) -> None:
        """Write down what becomes of so many transactions."""
        left, stays = transactions, Stays()
        for number, (flow, part) in enumerate(self.parts.items(), start=1):
            count = left if number == len(self.parts) else min(left, round(transactions * part))
            left -= count
            PLANNERS[flow](sim, count, stays)


def _procure_to_pay(sim: Simulation, transactions: int, _: Stays) -> None:
    without_order = round(transactions * sim.rates.invoice_without_order)
    orders, announced = plan_orders(sim, transactions - without_order)
    sent = plan_dispatch(sim, orders, announced)
    shipments = plan_shipments(sim, plan_answers(sim, orders, sent))
    received = plan_receipts(sim, shipments)
    invoices = plan_invoices(sim, shipments, without_order)
    plan_payments(sim, plan_vouchers(sim, invoices, received))


def _alone(plan: Callable[[Simulation, int], None]) -> Planner:
    return lambda sim, transactions, stays: plan(sim, transactions)


def _implant(sim: Simulation, transactions: int, stays: Stays) -> None:
    stays.extend(implants.plan_implants(sim, transactions))


PLANNERS: Final[Mapping[str, Planner]] = {
    "procure_to_pay": _procure_to_pay,
    "implant": _implant,
    "charge_to_cash": claims.plan_claims,
    "order_to_cash": _alone(customers.plan_orders_to_cash),
    "chargeback": _alone(customers.plan_chargebacks),
    "warehouse_to_finance": _alone(stock.plan_movements),
    "replenishment": _alone(stock.plan_replenishments),
    "cycle_count": _alone(stock.plan_counts),
    "batch_and_file": _alone(files.plan_files),
    "master_data": _alone(masters.plan_versions),
}
JOURNEYS: Final = (
    implants.JOURNEY,
    claims.JOURNEY,
    customers.JOURNEY,
    customers.TRANSFER,
    customers.ADJUSTMENT,
    customers.CHARGEBACK,
    stock.JOURNEY,
    stock.SUPPLY,
    stock.COUNT,
    files.JOURNEY,
    files.TASK,
    masters.JOURNEY,
)  # the flows that are simulated by their description
NETWORK: Final = Scenario("network", "procure to pay of a hospital network", {"procure_to_pay": 1.0})
HOSPITAL: Final = Scenario(
    "hospital",
    "a network of hospitals with ERP procurement, legacy billing and suppliers' SaaS",
    {"procure_to_pay": 0.45, "implant": 0.25, "charge_to_cash": 0.3},
    tells="implant",
)
DISTRIBUTOR: Final = Scenario(
    "distributor",
    "a distributor with movement events, cost updates of the ERP and partners by API and EDI",
    {
        "order_to_cash": 0.3,
        "chargeback": 0.15,
        "warehouse_to_finance": 0.3,
        "replenishment": 0.15,
        "cycle_count": 0.1,
    },
    tells="warehouse_to_finance",
)
SPECIALTY: Final = Scenario(
    "specialty",
    "specialty care with SaaS procurement, an ERP and an outsourced revenue cycle",
    {"procure_to_pay": 0.35, "charge_to_cash": 0.3, "batch_and_file": 0.2, "master_data": 0.15},
    tells="master_data",
)
SCENARIOS: Final = {each.name: each for each in (NETWORK, HOSPITAL, DISTRIBUTOR, SPECIALTY)}
