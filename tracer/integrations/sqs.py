"""SQS by boto3: what is sent, alone and in batches, and what is received. Every client calls through one method."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as SUPPRESS_HTTP

from controltower.tracer.integrations.arrival import (
    IDEMPOTENCY_HEADERS,
    READ,
    Arrival,
    DeadLetter,
    Noted,
    arrival_of,
    is_travelling,
    noted,
    read_headers,
    read_with,
)
from controltower.tracer.integrations.extract import keys_in
from controltower.tracer.integrations.messaging import Sending, Used, pulled
from controltower.tracer.integrations.patches import Function, Patches
from controltower.tracer.integrations.place import Place
from controltower.tracer.integrations.spans import is_suppressed

SYSTEM: Final = "aws_sqs"
MAX_ATTRIBUTES: Final = 10  # of one message; the service refuses more
NO_ROOM: Final = "sqs_without_headers"  # the message has attributes of its own in the place of ours
FACTS: Final = ("SentTimestamp", "ApproximateReceiveCount", "DeadLetterQueueSourceArn", "MessageDeduplicationId")
ASKED_WITH: Final = ("MessageSystemAttributeNames", "AttributeNames")  # today, and the older name

Call = Callable[[str, Any], Any]


def hook(patches: Patches, used: Used) -> None:
    """Replace the method by which clients, and the resources on them, call the service."""
    from boto3.resources.base import ServiceResource
    from botocore.client import BaseClient

    patches.method(BaseClient, "_make_api_call", _Hooks(used).call)
    patches.later(read_with(ServiceResource, lambda message: arrival_of(message.meta.data)))


class _Hooks:
    """Makes the replacement; it leaves results as they are, but for what the caller did not ask for."""

    def __init__(self, used: Used) -> None:
        self._used = used

    def call(self, original: Function) -> Function:
        calls = {"SendMessage": self._send, "SendMessageBatch": self._send_batch, "ReceiveMessage": self._receive}

        def call(client: Any, operation: str, given: Any) -> Any:
            ours = calls.get(operation)
            if ours is None or client.meta.service_model.service_name != "sqs" or is_suppressed():
                return original(client, operation, given)
            token = otel_context.attach(otel_context.set_value(SUPPRESS_HTTP, True))  # the request is this call's
            try:
                return ours(client, given, lambda named, parameters: original(client, named, parameters))
            finally:
                otel_context.detach(token)

        return call

    def _send(self, client: Any, given: Any, call: Call) -> Any:
        with self._sending(client, given.get("QueueUrl"), given, "SendMessage") as sending:
            answer = call("SendMessage", self._marked(sending, given))
            sending.delivered(answer.get("MessageId"))
            return answer

    def _send_batch(self, client: Any, given: Any, call: Call) -> Any:
        """A span for each message, open until the service has answered."""
        entries = given.get("Entries")
        if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, Mapping) for entry in entries):
            return call("SendMessageBatch", given)  # which says what is wrong
        open_: dict[str, Sending] = {}
        marked = []
        for entry in entries:
            with self._sending(client, given.get("QueueUrl"), entry, "SendMessageBatch") as sending:
                marked.append(self._marked(sending, entry))
                sending.hold()
            open_[str(entry.get("Id"))] = sending
        failed: BaseException | str | None = "no_answer"
        try:
            answer = call("SendMessageBatch", {**given, "Entries": marked})
            self._answered(open_, answer)
            return answer
        except BaseException as error:
            failed = error
            raise
        finally:
            for sending in open_.values():
                sending.end(failed)

    def _answered(self, open_: dict[str, Sending], answer: Any) -> None:
        with self._used().guard.around("SQS hook"):
            for taken in answer.get("Successful", ()):
                if (sending := open_.pop(taken["Id"], None)) is not None:
                    sending.delivered(taken.get("MessageId"))
                    sending.end()
            for refused in answer.get("Failed", ()):
                if (sending := open_.pop(refused["Id"], None)) is not None:
                    sending.end(str(refused.get("Code")))

    def _sending(self, client: Any, queue: object, message: Any, operation: str) -> Sending:
        pairs = _pairs(message.get("MessageAttributes"))
        if identity := message.get("MessageDeduplicationId"):
            pairs.append((IDEMPOTENCY_HEADERS[0], identity))
        body = message.get("MessageBody")
        return Sending(self._used(), _place(client, queue), operation, given=pairs, body=body)

    def _marked(self, sending: Sending, message: Any) -> Any:
        """Return *message* with our headers among its attributes, as far as there is room."""
        theirs = message.get("MessageAttributes") or {}
        if not isinstance(theirs, Mapping):
            return message  # the library says what is wrong
        kept = {name: value for name, value in theirs.items() if not is_travelling(name)}
        former = [(name, text) for name, text in _pairs(theirs) if is_travelling(name)]
        ours = [(name, text) for name, text in sending.headers(former) if text]
        room = max(0, MAX_ATTRIBUTES - len(kept))
        if len(ours) > room:
            self._used().guard.count(NO_ROOM)
        kept.update((name, {"DataType": "String", "StringValue": text}) for name, text in ours[:room])
        return {**message, "MessageAttributes": kept} if kept else message

    def _receive(self, client: Any, given: Any, call: Call) -> Any:
        system = self._used()
        answer = call("ReceiveMessage", _asking(given))
        messages = answer.get("Messages")
        if not messages:
            return answer
        with system.guard.around("SQS hook"):
            place = _place(client, given.get("QueueUrl"))
            arrivals = [self._arrived(place, message) for message in messages]
            answer["Messages"] = [
                _as_asked(message, arrival, given) for message, arrival in zip(messages, arrivals, strict=True)
            ]
            pulled(system, "ReceiveMessage", arrivals, batch=(given.get("MaxNumberOfMessages") or 1) > 1)
        return answer

    def _arrived(self, place: Place, message: Any) -> Arrival:
        facts, pairs = message.get("Attributes", {}), _pairs(message.get("MessageAttributes"))
        if identity := facts.get("MessageDeduplicationId"):
            pairs.append((IDEMPOTENCY_HEADERS[0], identity))
        sent, count = facts.get("SentTimestamp", ""), facts.get("ApproximateReceiveCount", "")
        source = facts.get("DeadLetterQueueSourceArn", "")
        return Arrival(
            place,
            read_headers(pairs),
            message_id=message.get("MessageId"),
            sent_ns=int(sent) * 1_000_000 if sent.isdigit() else None,
            redelivered=int(count) > 1 if count.isdigit() else None,
            delivery_count=int(count) if count.isdigit() else None,
            # A queue of dead letters gets from its source what was received too often, and nothing else.
            dead=DeadLetter(source.rpartition(":")[2], "delivery_limit", 1) if source else None,
            keys=keys_in(self._used(), place.name, pairs, message.get("Body")),
        )


def _asking(given: Any) -> Any:
    """Return the parameters of a receive that asks for our headers and for what the service knows, too."""
    asked = {**given}
    asked["MessageAttributeNames"] = _with(given.get("MessageAttributeNames"), sorted(READ))
    name = next((each for each in ASKED_WITH if given.get(each)), ASKED_WITH[0])
    asked[name] = _with(given.get(name), FACTS)
    return asked


def _with(given: Any, more: Any) -> list[Any]:
    """Return a list of names with *more* of them; ``All`` and ``.*`` have them already."""
    names = list(given or ())
    return names if "All" in names or ".*" in names else names + [name for name in more if name not in names]


def _as_asked(message: Any, arrival: Arrival, given: Any) -> Noted:
    """Return a message without what the caller did not ask for, and with how it arrived."""
    kept = dict(message)
    if not given.get("MessageAttributeNames"):
        kept.pop("MessageAttributes", None)
        kept.pop("MD5OfMessageAttributes", None)
    names = [name for each in ASKED_WITH for name in given.get(each) or ()]
    facts = kept.pop("Attributes", {})
    if wanted := {name: value for name, value in facts.items() if name in names or "All" in names}:
        kept["Attributes"] = wanted
    return noted(kept, arrival)


def _pairs(given: Any) -> list[tuple[str, Any]]:
    """Return message attributes as headers; those that are no text have none."""
    found = given.items() if isinstance(given, Mapping) else ()
    return [
        (name, value["StringValue"]) for name, value in found if isinstance(value, Mapping) and "StringValue" in value
    ]


def _place(client: Any, queue: object) -> Place:
    at = urlsplit(client.meta.endpoint_url or "")
    name = urlsplit(queue).path.rpartition("/")[2] if isinstance(queue, str) else ""
    return Place(SYSTEM, name, at.hostname or "", at.port)
