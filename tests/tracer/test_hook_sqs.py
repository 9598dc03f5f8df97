"""SQS by boto3: the real client over HTTP to moto's server in a process of its own, which is not the service itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from controltower import tracer
from controltower.tracer.integrations.arrival import DeadLetter
from controltower.tracer.integrations.place import Place
from controltower.tracer.integrations.sqs import _Hooks
from controltower.tracer.testing import Captured
from tests.aws_server import aws_server
from tests.tracer.hooked import (
    GARBAGE,
    PO,
    assert_hop,
    assert_linked,
    attribute,
    fresh,
    hooked,
    needs,
    of,
    only,
    unhooked,
)

needs("boto3", "moto")
import boto3
import botocore.exceptions
from botocore.config import Config

SETTINGS: Any = {"region_name": "eu-central-1", "aws_access_key_id": "id", "aws_secret_access_key": "secret"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of a server of SQS."""
    with aws_server() as address:
        yield address


@pytest.fixture
def client(endpoint: str) -> Iterator[Any]:
    """A client that was made before the hook, as those of imported modules are."""
    config = Config(proxies={}, retries={"max_attempts": 1})
    made = boto3.client("sqs", endpoint_url=endpoint, config=config, **SETTINGS)
    yield made
    made.close()


@pytest.fixture
def queue(client: Any) -> str:
    """A queue of this test alone."""
    return str(client.create_queue(QueueName=fresh().replace(".", "-"))["QueueUrl"])


@pytest.fixture
def captured(client: Any) -> Iterator[Captured]:
    """The spans of a process with the hook."""
    with hooked("sqs") as found:
        yield found


def receive(client: Any, queue: str, **options: Any) -> list[dict[str, Any]]:
    """Return what is received at once."""
    return list(client.receive_message(QueueUrl=queue, WaitTimeSeconds=0, **options).get("Messages", ()))


def test_a_hop(captured: Captured, client: Any, queue: str) -> None:
    """Keys, wait and delivery count; the reader gets nothing that it did not ask for, and no body is kept."""
    with tracer.step("p2p.purchase_order.dispatched", keys={**PO, "claim_pcn": "C-1"}):
        client.send_message(QueueUrl=queue, MessageBody="patient Jane Doe")
    (message,) = receive(client, queue)
    with tracer.processing(message), tracer.step("p2p.purchase_order.acknowledged"):
        pass

    sent, received = assert_hop(captured, received="receive")
    worked = only(captured, "process")
    assert_linked(worked, sent)
    assert set(message) == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}
    assert attribute(received, "controltower.message.delivery_count") == 1
    assert attribute(received, "controltower.message.redelivered") is False
    assert (
        attribute(sent, "messaging.message.id") == attribute(received, "messaging.message.id") == message["MessageId"]
    )
    assert attribute(sent, "messaging.destination.name") == queue.rpartition("/")[2]
    assert attribute(worked, "controltower.key.claim_pcn") is None
    captured.assert_step("p2p.purchase_order.acknowledged", keys=PO)
    assert not any("Jane" in span.to_json() for span in captured.spans)


def test_what_the_reader_asks_for_is_there(captured: Captured, client: Any, queue: str) -> None:
    """Its own attributes and facts stay, by both names of the parameter."""
    mine = {"Colour": {"DataType": "String", "StringValue": "red"}}
    client.send_message(QueueUrl=queue, MessageBody="1", MessageAttributes=mine)
    (message,) = receive(client, queue, MessageAttributeNames=["Colour"], AttributeNames=["SentTimestamp"])

    assert message["MessageAttributes"]["Colour"]["StringValue"] == "red"
    assert set(message["Attributes"]) == {"SentTimestamp"}


def test_a_batch(captured: Captured, client: Any, queue: str) -> None:
    """Each message has a span at its sender; what is received together is linked to all of them."""
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(10)]
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        answer = client.send_message_batch(QueueUrl=queue, Entries=entries)
    messages = receive(client, queue, MaxNumberOfMessages=10)

    sent = of(captured, "send")
    ids = {attribute(span, "messaging.message.id"): span for span in sent}
    assert set(ids) == {each["MessageId"] for each in answer["Successful"]}
    received = only(captured, "receive")
    assert_linked(received, *(ids[message["MessageId"]] for message in messages))
    assert attribute(received, "messaging.batch.message_count") == 10
    assert len({span.context.span_id for span in sent if span.context}) == 10


def test_a_batch_that_is_refused(captured: Captured, client: Any, queue: str) -> None:
    """Each of its spans is marked, and the library's own exception passes."""
    entries = [{"Id": "same", "MessageBody": "1"}, {"Id": "same", "MessageBody": "2"}]
    with pytest.raises(botocore.exceptions.ClientError):
        client.send_message_batch(QueueUrl=queue, Entries=entries)

    assert all(attribute(span, "error.type") for span in of(captured, "send"))


def test_it_comes_again_and_goes_to_the_dead(captured: Captured, client: Any, queue: str) -> None:
    """The second delivery has its number; in the queue of dead letters the sender is still known."""
    dead = client.create_queue(QueueName=fresh("dead").replace(".", "-"))["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "2"}}'
    client.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy})
    with tracer.step("p2p.purchase_order.dispatched", keys=PO):
        client.send_message(QueueUrl=queue, MessageBody="1")
    for _ in range(2):
        receive(client, queue, VisibilityTimeout=0)
    assert receive(client, queue, VisibilityTimeout=0) == []
    receive(client, dead)

    first, second, buried = of(captured, "receive")
    for span in (first, second, buried):
        assert_linked(span, only(captured, "send"))
        assert attribute(span, "controltower.key.purchase_order") == "PO-1042"
    assert [attribute(span, "controltower.message.delivery_count") for span in (first, second)] == [1, 2]
    assert attribute(second, "controltower.message.redelivered") is True


def test_where_a_dead_letter_came_from(captured: Captured) -> None:
    """The service names the queue that gave a message up; moto's server does not, so the answer is written here."""
    facts = {"ApproximateReceiveCount": "4", "DeadLetterQueueSourceArn": "arn:aws:sqs:eu-central-1:1:orders"}

    arrival = _Hooks(lambda: captured.system)._arrived(Place("aws_sqs", "dead"), {"Attributes": facts})

    assert arrival.dead == DeadLetter("orders", "delivery_limit", 1)
    assert arrival.delivery_count == 4


def test_a_message_with_ten_attributes(captured: Captured, client: Any, queue: str) -> None:
    """The service takes ten: the sender's own stay, ours are counted as missing."""
    mine = {f"a{number}": {"DataType": "String", "StringValue": "x"} for number in range(10)}
    client.send_message(QueueUrl=queue, MessageBody="1", MessageAttributes=mine)
    (message,) = receive(client, queue, MessageAttributeNames=["All"])

    assert message["MessageAttributes"].keys() == mine.keys()
    assert only(captured, "receive").links == ()
    assert captured.system.health().misuse == {"sqs_without_headers": 1}


@pytest.mark.parametrize("traceparent", [each for each in GARBAGE if each and "\x00" not in each])
def test_headers_of_strangers(captured: Captured, client: Any, queue: str, traceparent: str) -> None:
    """A message without headers or with broken ones is worked on like any other, without a link."""
    theirs = {"traceparent": {"DataType": "String", "StringValue": traceparent}}
    with unhooked():
        client.send_message(QueueUrl=queue, MessageBody="1", MessageAttributes=theirs)
        client.send_message(QueueUrl=queue, MessageBody="2")
    for message in receive(client, queue, MaxNumberOfMessages=10):
        with tracer.processing(message) as sender:
            assert sender is None

    assert len(of(captured, "process")) == 2
    assert all(span.links == () for span in captured.spans)


def test_a_queue_that_is_not_there(captured: Captured, client: Any, queue: str) -> None:
    """The host gets the library's own exception, and the span of the send has its type and not its text."""
    with pytest.raises(client.exceptions.QueueDoesNotExist):
        client.send_message(QueueUrl=queue + "-absent", MessageBody="patient Jane Doe")

    sent = only(captured, "send")
    assert str(attribute(sent, "error.type")).endswith("QueueDoesNotExist")
    assert "Jane" not in sent.to_json()


def test_resources_and_rules(captured: Captured, endpoint: str, queue: str) -> None:
    """The objects of boto3's resources are messages, too, and rules find keys in bodies."""
    needs("jsonpath_rfc9535")
    tracer.instrument("sqs", extract={"orders-*": {"invoice": "$.invoice"}})
    config = Config(proxies={})
    there = boto3.resource("sqs", endpoint_url=endpoint, config=config, **SETTINGS).Queue(queue)
    there.send_message(MessageBody='{"invoice": "I-7"}')
    (message,) = there.receive_messages()
    with tracer.processing(message) as sender:
        assert sender is not None

    for operation in ("send", "receive", "process"):
        assert attribute(only(captured, operation), "controltower.key.invoice") == "I-7"
    there.meta.client.close()
