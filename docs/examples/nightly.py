"""Posts the invoices of the day: one run, with a record for each."""

import os

import psycopg

from controltower import tracer

tracer.instrument("psycopg")
tracer.configure(service="ledger", when_full="block")

DATABASE = os.environ.get("DATABASE_URL", "postgresql://postgres@127.0.0.1/postgres")
OPEN = "SELECT number, purchase_order, amount FROM invoices WHERE NOT posted"

with psycopg.connect(DATABASE) as database:
    invoices = database.execute(OPEN).fetchall()
    with tracer.batch("nightly-posting", expected=len(invoices), currency="USD") as run:
        for number, order, amount in invoices:
            keys = {"invoice": number, "purchase_order": order}
            with run.record("p2p.invoice.posted", keys=keys, amount=amount):
                database.execute("UPDATE invoices SET posted = true WHERE number = %s", [number])
