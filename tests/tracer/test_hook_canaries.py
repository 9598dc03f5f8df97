"""Canaries through every hook, with the real library and broker: nothing of a patient is in a span or a log."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from controltower import tracer
from controltower.tracer.canaries import Patient, no_canaries
from controltower.tracer.hooks import HOOKS, is_there
from tests.aws_server import aws_server
from tests.conftest import IN_CI
from tests.tracer.hooked import broker, fresh, needs
from tests.tracer.serving import asgi, wsgi

pytestmark = pytest.mark.usefixtures("low_descriptors")  # paho waits by select

Send = Callable[[Patient], None]
SENDS: dict[str, Send] = {}
RABBITMQ = ("RabbitMQ", "RABBITMQ_ADDRESS", 5672)
REDIS = ("Redis", "REDIS_ADDRESS", 6379)
STEP = "c2c.claim.submitted"


class HandlerError(Exception):
    """What a service raises, with a message that names a patient."""


def through(name: str) -> Callable[[Send], Send]:
    """Note what sends a patient through a hook."""

    def note(send: Send) -> Send:
        SENDS[name] = send
        return send

    return note


def work(patient: Patient) -> None:
    """Work as services do: a step with keys and lines of the patient, then a failure that names them."""
    with tracer.step(STEP, keys={"mrn": patient.mrn}, context={"patient": patient.account}) as step:
        step.line(line=1, amount="1.00", keys={"device": patient.device})
        raise HandlerError(patient.sentence())


def work_on(message: object, patient: Patient) -> None:
    """Work on a message that was fetched."""
    with suppress(HandlerError), tracer.processing(message):
        work(patient)


def body(patient: Patient) -> bytes:
    """A message."""
    return json.dumps(patient.payload()).encode()


@pytest.mark.parametrize("name", [name for name in HOOKS if name != "django"])
def test_nothing_of_a_patient_leaves(name: str) -> None:
    """Bodies, headers, queries, paths, SQL, arguments and exceptions with a patient's data: the spans have none of it."""
    if not is_there(HOOKS[name].module) and not IN_CI:
        pytest.skip(f"{HOOKS[name].distribution} is not installed")
    with no_canaries() as canaries:
        tracer.instrument(name)
        try:
            SENDS[name](canaries.patient)
        finally:
            tracer.uninstrument(name)
        assert len(canaries.captured.spans) > len(canaries.captured.steps)


# -- messages


@through("pika")
def by_pika(patient: Patient) -> None:
    """Publish, deliver to a handler that fails, fetch, give back."""
    import pika

    host, port = broker(*RABBITMQ)
    properties = pika.BasicProperties(headers=patient.headers(), correlation_id=patient.mrn)
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        channel = connection.channel()
        queue = fresh()
        channel.queue_declare(queue, exclusive=True)

        def handle(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            channel.basic_nack(method.delivery_tag, requeue=False)
            work(patient)

        for _ in range(2):
            channel.basic_publish("", queue, body(patient), properties)
        channel.basic_consume(queue, handle)
        with pytest.raises(HandlerError):
            connection.process_data_events(time_limit=10)
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, exclusive=True)
        channel.basic_publish("", queue, body(patient), properties)
        work_on(channel.basic_get(queue, auto_ack=True), patient)


@through("aio-pika")
def by_aio_pika(patient: Patient) -> None:
    """Publish, and work on what is fetched; a failure gives it back."""
    import aio_pika

    host, port = broker(*RABBITMQ)

    async def session() -> None:
        async with await aio_pika.connect(f"amqp://guest:guest@{host}:{port}/", timeout=10) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(fresh(), exclusive=True)
            message = aio_pika.Message(body(patient), headers=patient.headers(), correlation_id=patient.mrn)
            await channel.default_exchange.publish(message, queue.name)
            with suppress(HandlerError):
                async with (await queue.get(timeout=10)).process():
                    work(patient)

    asyncio.run(session())


@through("redis")
def by_redis(patient: Patient) -> None:
    """Add an entry to a stream, and read it."""
    import redis

    host, port = broker(*REDIS)
    with redis.Redis(host=host, port=port) as client:
        stream = fresh()
        try:
            client.xadd(stream, {**patient.payload(), **patient.headers()})
            answer: Any = client.xread({stream: "0"})
            for _, entries in answer.items() if isinstance(answer, dict) else answer:
                for entry in entries[0] if isinstance(entries[0], list) else entries:
                    work_on(entry, patient)
        finally:
            client.delete(stream)


@through("nats")
def by_nats(patient: Patient) -> None:
    """Publish to a subscription whose callback fails."""
    import nats

    host, port = broker("NATS", "NATS_ADDRESS", 4222)

    async def session() -> None:
        async def quiet(_: Exception) -> None:
            """The failure of the callback, which the client would log."""

        client = await nats.connect(f"nats://{host}:{port}", error_cb=quiet)
        through = asyncio.get_running_loop().create_future()
        subject = fresh()

        async def handle(message: Any) -> None:
            through.set_result(None)
            work(patient)

        await client.subscribe(subject, cb=handle)
        await client.publish(subject, body(patient), headers=patient.headers())
        await asyncio.wait_for(through, 10)
        await client.drain()

    asyncio.run(session())


@through("paho")
def by_paho(patient: Patient) -> None:
    """Publish to a handler that fails."""
    from paho.mqtt.client import Client, MQTTv5
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    given: Any = Properties(PacketTypes.PUBLISH)
    given.UserProperty = list(patient.headers().items())
    given.CorrelationData = patient.mrn.encode()
    topic, subscribed, handled = fresh(), threading.Event(), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: subscribed.set()

    def handle(*_: Any) -> None:
        handled.set()
        with suppress(HandlerError):  # it would end the client's thread
            work(patient)

    client.on_message = handle
    client.connect(*broker("an MQTT broker", "MQTT_ADDRESS", 1883))
    client.loop_start()
    try:
        assert subscribed.wait(10)
        client.publish(topic, body(patient), qos=1, properties=given)
        assert handled.wait(10)
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def kafka() -> Iterator[str]:
    """A broker in this process, which speaks Kafka's protocol over TCP; it lives as long as the client that started it."""
    import confluent_kafka

    owner = confluent_kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (found,) = owner.list_topics(timeout=10).brokers.values()
    yield f"{found.host}:{found.port}"
    owner.flush(1)


@through("confluent-kafka")
def by_confluent_kafka(patient: Patient) -> None:
    """Produce with a key, and poll."""
    import confluent_kafka

    with kafka() as servers:
        topic = fresh()
        producer = confluent_kafka.Producer({"bootstrap.servers": servers})
        producer.list_topics(topic, timeout=10)
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": servers, "group.id": topic, "auto.offset.reset": "earliest", "log_level": 0}
        )
        consumer.subscribe([topic])
        try:
            producer.produce(topic, body(patient), key=patient.mrn, headers=patient.headers())
            producer.flush(10)
            work_on(consumer.poll(20), patient)
        finally:
            consumer.close()


@through("aiokafka")
def by_aiokafka(patient: Patient) -> None:
    """Send with a key, and get."""
    import aiokafka

    async def session(servers: str) -> None:
        topic = fresh()
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=servers) as producer:
            headers = [(name, value.encode()) for name, value in patient.headers().items()]
            await producer.send_and_wait(topic, body(patient), key=patient.mrn.encode(), headers=headers)
        async with aiokafka.AIOKafkaConsumer(
            topic, bootstrap_servers=servers, auto_offset_reset="earliest"
        ) as consumer:
            work_on(await asyncio.wait_for(consumer.getone(), 20), patient)

    with kafka() as servers:
        asyncio.run(session(servers))


@through("sqs")
def by_sqs(patient: Patient) -> None:
    """Send and receive."""
    import boto3
    from botocore.config import Config

    settings: Any = {"region_name": "eu-central-1", "aws_access_key_id": "id", "aws_secret_access_key": "secret"}
    with aws_server() as endpoint:
        client = boto3.client("sqs", endpoint_url=endpoint, config=Config(proxies={}), **settings)
        queue = client.create_queue(QueueName=fresh().replace(".", "-"))["QueueUrl"]
        given = {
            name.title(): {"DataType": "String", "StringValue": value}
            for name, value in list(patient.headers().items())[:3]
        }
        client.send_message(QueueUrl=queue, MessageBody=body(patient).decode(), MessageAttributes=given)
        (message,) = client.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
        work_on(message, patient)
        client.close()


# -- servers


def call(address: str, patient: Patient) -> None:
    """Call a service with a patient in everything: it fails; then a path that it does not have."""
    import httpx

    for path in (f"patients/{patient.mrn}", f"nobody/{patient.mrn}/{patient.family_name}"):
        answer = httpx.post(
            f"{address}/{path}?{patient.query()}", json=patient.payload(), headers=patient.headers(), timeout=20
        )
        assert answer.status_code in (404, 500)


@through("fastapi")
def to_fastapi(patient: Patient) -> None:
    """A service in FastAPI."""
    import fastapi

    app = fastapi.FastAPI()

    @app.post("/patients/{mrn}")
    async def handle(mrn: str, request: fastapi.Request) -> None:
        await request.body()
        work(patient)

    with asgi(app) as address:
        call(address, patient)


@through("starlette")
def to_starlette(patient: Patient) -> None:
    """A service in Starlette, one route of which stands for a host."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import Host, Route, Router

    async def handle(request: Request) -> None:
        await request.body()
        work(patient)

    route = Route("/patients/{mrn}", handle, methods=["POST"])
    for routes in ([route], [Host("127.0.0.1", Router([route]))]):
        with asgi(Starlette(routes=routes)) as address:
            call(address, patient)


@through("flask")
def to_flask(patient: Patient) -> None:
    """A service in Flask."""
    import flask

    app = flask.Flask("patients")

    def handle(mrn: str) -> None:
        flask.request.get_data()
        work(patient)

    app.post("/patients/<mrn>")(handle)
    with wsgi(app) as address:
        call(address, patient)


DJANGO = """
import os, sys, threading, logging
module = type(sys)("patients_settings")
module.SECRET_KEY, module.ROOT_URLCONF, module.ALLOWED_HOSTS = "x", "patients_urls", ["*"]
module.DEBUG_PROPAGATE_EXCEPTIONS, module.MIDDLEWARE, module.USE_TZ = False, (), True
sys.modules[module.__name__] = module
os.environ["DJANGO_SETTINGS_MODULE"] = module.__name__
logging.disable(logging.CRITICAL)
import django
from django.urls import path
from controltower import tracer
from controltower.tracer.canaries import Patient, no_canaries
from tests.tracer.serving import wsgi
from tests.tracer.test_hook_canaries import call, work

def handle(request, mrn):
    work(Patient())

urls = type(sys)("patients_urls")
urls.urlpatterns = [path("patients/<str:mrn>", handle)]
sys.modules[urls.__name__] = urls
django.setup()
with no_canaries() as canaries:
    tracer.instrument("django")
    from django.core.wsgi import get_wsgi_application
    with wsgi(get_wsgi_application()) as address:
        call(address, canaries.patient)
    assert len(canaries.captured.spans) > len(canaries.captured.steps)
"""


def test_nothing_of_a_patient_leaves_django() -> None:
    """A service in Django; in a process of its own, since its settings can be made once only."""
    needs("django", instrumentations=("django",))
    run = subprocess.run([sys.executable, "-c", DJANGO], capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr


# -- clients


@contextmanager
def failing_server(patient: Patient) -> Iterator[str]:
    """A service that refuses everything, with a body and headers that name the patient."""

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = patient.sentence().encode()
            self.send_response(422, "no")
            self.send_header("X-Patient", patient.name)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def urls(address: str, patient: Patient) -> list[str]:
    """Addresses with a patient in them: one that answers, and one where nobody is, whose exception names it."""
    return [f"{each}/patients/{patient.mrn}?{patient.query()}" for each in (address, "http://127.0.0.1:1")]


@through("httpx")
def by_httpx(patient: Patient) -> None:
    """Call with httpx."""
    import httpx

    with failing_server(patient) as address, httpx.Client() as client:
        for url in urls(address, patient):
            with suppress(httpx.HTTPError):
                client.post(url, json=patient.payload(), headers=patient.headers()).raise_for_status()


@through("requests")
def by_requests(patient: Patient) -> None:
    """Call with requests."""
    import requests

    with failing_server(patient) as address, requests.Session() as session:
        for url in urls(address, patient):
            with suppress(requests.RequestException):
                session.post(url, json=patient.payload(), headers=patient.headers(), timeout=10).raise_for_status()


@through("urllib3")
def by_urllib3(patient: Patient) -> None:
    """Call with urllib3."""
    import urllib3

    with failing_server(patient) as address, urllib3.PoolManager(retries=False) as pool:
        for url in urls(address, patient):
            with suppress(urllib3.exceptions.HTTPError):
                pool.request("POST", url, body=body(patient), headers=patient.headers(), timeout=10)


@through("aiohttp-client")
def by_aiohttp(patient: Patient) -> None:
    """Call with aiohttp."""
    import aiohttp

    async def session(address: str) -> None:
        async with aiohttp.ClientSession() as client:
            for url in urls(address, patient):
                with suppress(aiohttp.ClientError):
                    async with client.post(url, json=patient.payload(), headers=patient.headers()) as answer:
                        answer.raise_for_status()

    with failing_server(patient) as address:
        asyncio.run(session(address))


# -- SQL


def statements(patient: Patient) -> list[str]:
    """Statements with a patient as values, as parameter, in comments; the third one fails and quotes them."""
    return [
        f"SELECT {patient.sql()}",
        f"SELECT '{patient.name}' || %s",
        f"SELECT CAST('{patient.sentence()}' || %s AS integer)",
        f"/* {patient.sentence()} */ SELECT %s",
        f"--{patient.name}\nSELECT %s",
        f"'{patient.mrn}' is no statement",
    ]


def database() -> str:
    """Where the database is, without its kind."""
    import os

    host, port = broker("PostgreSQL", "POSTGRESQL_ADDRESS", 5432)
    return f"{os.environ.get('PGUSER', 'postgres')}@{host}:{port}/{os.environ.get('PGDATABASE', 'test')}"


@through("psycopg")
def by_psycopg(patient: Patient) -> None:
    """Statements over psycopg."""
    import psycopg

    with psycopg.connect(f"postgresql://{database()}", autocommit=True) as connection:
        for statement in statements(patient):
            with suppress(psycopg.Error):
                connection.execute(statement, (patient.mrn,) if "%s" in statement else None)


@through("sqlalchemy")
def by_sqlalchemy(patient: Patient) -> None:
    """Statements over SQLAlchemy."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"postgresql+psycopg://{database()}")
    for statement in statements(patient):
        with suppress(sqlalchemy.exc.SQLAlchemyError), engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement.replace("%s", ":mrn")), {"mrn": patient.mrn})
    engine.dispose()


# -- jobs


@through("celery")
def by_celery(patient: Patient) -> None:
    """A task that is given a patient, is tried again, and fails."""
    import celery

    app = celery.Celery("patients", set_as_current=False)
    app.conf.update(task_always_eager=True, task_store_eager_result=False)

    def run(task: Any, given: object, mrn: str) -> None:
        try:
            work(patient)
        except HandlerError as error:
            raise task.retry(exc=error, countdown=0) from error

    task: Any = app.task(name="patients.work", bind=True, max_retries=1)(run)
    with suppress(HandlerError):
        task.apply((patient.payload(),), {"mrn": patient.mrn}, headers=patient.headers()).get()


@through("rq")
def by_rq(patient: Patient) -> None:
    """A job that is given a patient, and fails."""
    import redis
    import rq

    host, port = broker(*REDIS)
    with redis.Redis(host=host, port=port) as connection:
        queue = rq.Queue(fresh("rq"), connection=connection)
        try:
            queue.enqueue(work, patient, description=patient.sentence(), meta=patient.payload())
            rq.SimpleWorker([queue], connection=connection).work(burst=True, logging_level="CRITICAL")
        finally:
            queue.delete(delete_jobs=True)


@through("apscheduler")
def by_apscheduler(patient: Patient) -> None:
    """A job that is given a patient, and fails."""
    from datetime import UTC

    from apscheduler.events import EVENT_JOB_ERROR
    from apscheduler.schedulers.background import BackgroundScheduler

    scheduler, failed = BackgroundScheduler(timezone=UTC), threading.Event()
    scheduler.add_listener(lambda _: failed.set(), EVENT_JOB_ERROR)
    scheduler.add_job(work, args=[patient], name=patient.sentence(), id=patient.mrn)
    scheduler.start()
    try:
        assert failed.wait(20)
    finally:
        scheduler.shutdown()
