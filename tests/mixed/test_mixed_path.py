"""One order across everything: SDK, broker, a worker nobody instruments, X12 with the supplier, a table of jobs, a nightly batch."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from controltower.collector.scrapers.packs import packs
from tests.processes import PATIENCE_S, Tower, tower, until
from tests.tracer.hooked import broker, fresh, needs

needs("sqlalchemy", "psycopg", "pika")
import pika
import sqlalchemy

from tests.collector.scrapers.test_rows import address_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
ORDERS = ("PO-10042", "PO-10043", "PO-10044")
PATH = {
    ("ordering", "p2p.purchase_order.created"),
    ("edi_worker", "p2p.purchase_order.mapped"),
    ("x12", "p2p.purchase_order.dispatched"),
    ("x12", "p2p.purchase_order.functional_acknowledged"),
    ("x12", "p2p.purchase_order.acknowledged"),
    ("x12", "p2p.invoice.received"),
    ("erp", "p2p.invoice.posted"),
    ("erp", "p2p.payment.issued"),
    ("nightly", "p2p.payment.transmitted"),
}


@contextmanager
def queue_at(url: str) -> Iterator[str]:
    """Give a new queue, for the length of the block; no connection is held meanwhile, which would need heartbeats."""
    name = fresh("mixed")
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_declare(name)
    try:
        yield name
    finally:
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            connection.channel().queue_delete(name)


@contextmanager
def table_of_jobs(url: str) -> Iterator[tuple[Any, str]]:
    """Give an engine and the name of a new table, for the length of the block."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    name = fresh("mixed").replace(".", "_")
    columns = (
        "id INT PRIMARY KEY, invoice TEXT, vendor TEXT, voucher TEXT, payment TEXT, status TEXT, updated_at TIMESTAMPTZ"
    )
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE TABLE {name} ({columns})"))
    try:
        yield engine, name
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP TABLE {name}"))
        engine.dispose()


def post(engine: Any, table: str) -> None:
    """Register and post the invoices, as an ERP's job does."""
    rows = [
        {"id": at, "invoice": f"I-{order}", "vendor": "V-1011", "voucher": f"VO-{at}"}
        for at, order in enumerate(ORDERS)
    ]
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                f"INSERT INTO {table} (id, invoice, vendor, voucher, status, updated_at) "
                "VALUES (:id, :invoice, :vendor, :voucher, 'posted', now())"
            ),
            rows,
        )


def sources_in(folder: Path, table: str) -> Path:
    """Write the sources: ours, and those of the pack for X12 over the folders of this test."""
    given = (HERE / "sources.yaml").read_text(encoding="utf-8").replace("FOLDER", str(folder)).replace("TABLE", table)
    whole = yaml.safe_load(given)
    x12 = yaml.safe_load(packs()["x12"])["sources"]["x12"]
    x12 |= {"files": [f"{folder}/outbound/*", f"{folder}/inbound/*"], "trigger": ".ok", "service": "x12"}
    whole["sources"]["x12"] = x12
    file = folder / "sources.yaml"
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return file


def program(running: Tower, name: str, *words: str) -> str:
    """Run one of the programs beside this file to its end."""
    ran = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), *words],
        check=False,
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_one_order_across_everything(tmp_path: Path) -> None:
    """Each order is one transaction with all its steps, each once, whoever tells of them and however."""
    url = address_of("postgresql")
    host, port = broker("RabbitMQ", "RABBITMQ_ADDRESS", 5672)
    mq = f"amqp://guest:guest@{host}:{port}/%2F"
    with queue_at(mq) as queue, table_of_jobs(url) as (engine, table), tower(tmp_path / "data") as running:
        running.environment |= {
            "RABBITMQ_URL": mq,
            "ORDERS_QUEUE": queue,
            "DATABASE_URL": url,
        }
        running.serve()
        running.environment |= {
            "CONTROLTOWER_ENDPOINT": running.runtime.collector,
            "CONTROLTOWER_TOKEN": running.runtime.token,
        }
        outbound, inbound = tmp_path / "outbound", tmp_path / "inbound"
        outbound.mkdir()
        inbound.mkdir()
        program(running, "ordering", *ORDERS)
        program(running, "worker", str(tmp_path / "worker.log"), str(outbound), str(len(ORDERS)))
        sources = sources_in(tmp_path, table)
        running.run("scrape", str(sources), "--once", "--quiet")
        program(running, "supplier", str(outbound), str(inbound))
        post(engine, table)
        running.run("scrape", str(sources), "--once", "--quiet")
        assert nightly(running, table) == "3 paid\n"
        running.run("scrape", str(sources), "--once", "--quiet")
        for order in ORDERS:
            until(lambda order=order: running.placed(order) == PATH, f"{order} is whole")  # type: ignore[misc]
        for order in ORDERS:
            check(running, order)


def nightly(running: Tower, table: str) -> str:
    """Run the nightly payments as cron would; the payment is all that its command line knows."""
    job = [sys.executable, str(HERE / "paying.py"), table, "PAY-7788"]
    words = ("--name", "nightly-payments", "--service", "nightly", "--step", "p2p.payment.transmitted")
    return running.run("run", *words, "--key", "payment=PAY-7788", "--", *job)


def check(running: Tower, order: str) -> None:
    """The trace of an order says what happened to it, and nothing of the others."""
    answer = json.loads(running.run("trace", order, "--json"))
    (transaction,) = answer["transactions"]
    assert transaction["anchor"]["value"] == order
    assert len(transaction["steps"]) == len(PATH)
    assert {(step["system"], step["step"]) for step in transaction["steps"]} == PATH
    assert {deadline["state"] for deadline in transaction["deadlines"]} == {"met", "running"}
    assert {key["value"] for key in transaction["keys"] if key["type"] == "invoice"} == {f"I-{order}"}
    assert transaction["amounts"]["created"] == transaction["amounts"]["invoiced"] == "1252.00"
