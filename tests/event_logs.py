"""A procure-to-pay log with the dirt of real ones, as CSV: the same for the same seed, and every row of dirt counted.

``python -m tests.event_logs OUT.csv --orders 60000`` writes about 300,000 events and prints what is wrong with how many.
"""

import argparse
import csv
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

COLUMNS: Final = ("event", "activity", "time", "order", "receipt", "invoice", "payment", "vendor", "amount")
BEGIN: Final = datetime(2025, 1, 6, 8, tzinfo=UTC)
OTHER: Final = "Change Price"  # no rule of the map is about it
STRAY: Final = {
    "1948-01-26T23:59:00Z": "years before 1970",
    "2093-09-09T10:00:00Z": "years ahead",
    "2020-13-40T00:00:00Z": "times that are none",
}

MAP: Final = """\
name: dirty_p2p
service: erp
id: event
time: time
rules:
  - id: order
    when: {activity: Create Purchase Order}
    step: p2p.purchase_order.created
    keys: {purchase_order: order}
    context: {vendor: vendor}
    amount: {field: amount, do: [{decimal: {thousands: ','}}]}
    currency: {text: USD}
  - like: order
    when: {activity: Record Goods Receipt}
    step: p2p.goods.received
    keys: {receipt: receipt}
  - like: order
    when: {activity: Record Invoice Receipt}
    step: p2p.invoice.received
    keys: {invoice: invoice, purchase_order: {field: order, optional: true}}
  - when: {activity: Clear Invoice}
    step: p2p.payment.issued
    keys: {payment: payment, invoice: invoice}
    amount: {field: amount, do: [{decimal: {thousands: ','}}]}
    currency: {text: USD}
"""


def events(orders: int, seed: int, dirt: Counter[str]) -> list[dict[str, str]]:
    """Return the events of so many orders in the order of their cases; *dirt* counts what is wrong with them."""
    chance = random.Random(seed)
    rows: list[dict[str, str]] = []

    def add(activity: str, at: datetime, **values: str) -> None:
        row = dict.fromkeys(COLUMNS, "") | values
        rows.append(row | {"event": f"E{len(rows)}", "activity": activity, "time": at.isoformat()})
        dirt["events"] += 1
        if chance.random() < 0.002:
            rows[-1]["time"] = chance.choice([*STRAY])
            dirt[STRAY[rows[-1]["time"]]] += 1
        elif activity == OTHER:
            dirt["of no interest"] += 1
        elif chance.random() < 0.001:
            rows[-1]["amount"] = "n/a"
            dirt["amounts that are none"] += 1

    for number in range(orders):
        at = BEGIN + timedelta(minutes=7 * number)
        order, vendor = f"PO-{number}", f"V-{chance.randrange(400)}"
        amount = f"{chance.randrange(100, 5_000_000) / 100:,.2f}"
        known = {"order": order, "vendor": vendor, "amount": amount}
        received, invoiced = at + timedelta(days=chance.uniform(2, 20)), at + timedelta(days=chance.uniform(4, 30))
        add("Create Purchase Order", at, **known)
        if chance.random() < 0.3:
            add(OTHER, at + timedelta(hours=3), **known)
        add("Record Goods Receipt", received, receipt=f"GR-{number}", **known)
        dirt["invoiced before receipt"] += invoiced < received
        dangling = chance.random() < 0.01
        add(
            "Record Invoice Receipt", invoiced, invoice=f"INV-{number}", **(known | ({"order": ""} if dangling else {}))
        )
        dirt["invoices of no order"] += dangling
        paid = invoiced + timedelta(days=chance.uniform(10, 40))
        payment = {"payment": f"PAY-{number // 20}", "invoice": f"INV-{number}", "amount": amount}
        add("Clear Invoice", paid, **payment)
        if chance.random() < 0.005:
            add("Clear Invoice", paid + timedelta(days=1), **payment)
            dirt["payments executed again"] += 1
    return rows


def write(path: Path, orders: int, seed: int = 7) -> Counter[str]:
    """Write the log and return what is wrong with how many events."""
    dirt: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number, row in enumerate(events(orders, seed, dirt)):
            rows.writerow(row.values())
            if number % 997 == 500:
                file.write("a,row,that,was,cut\r\n")
                dirt["rows that were cut"] += 1
    return dirt


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--orders", type=int, default=60_000)
    given = parser.parse_args()
    print(json.dumps(write(given.out, given.orders), indent=2))
    given.out.with_suffix(".yaml").write_text(MAP, encoding="utf-8")
