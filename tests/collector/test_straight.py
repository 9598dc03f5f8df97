"""What is posted to a receiver's path goes there, and everything else through the application."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from controltower.collector.straight import Straight

PATH = "/v1/traces"


def answered(type_: str, method: str, path: str) -> str:
    """Return who answered: the receiver or the application."""
    said: list[str] = []

    async def post(request: Request) -> Response:
        said.append("receiver")
        return Response(await request.body(), 202)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        said.append("application")

    async def receive() -> Message:
        return {"type": "http.request", "body": b"abc"}

    async def send(message: Message) -> None:
        said.append(str(message.get("status", message.get("body"))))

    scope = {"type": type_, "method": method, "path": path, "headers": []}
    asyncio.run(Straight(app, {PATH: post})(scope, receive, send))
    return " ".join(said)


@pytest.mark.parametrize(
    ("type_", "method", "path", "answer"),
    [
        ("http", "POST", PATH, "receiver 202 b'abc'"),
        ("http", "GET", PATH, "application"),
        ("http", "POST", f"{PATH}/else", "application"),
        ("http", "POST", "/V1/traces", "application"),
        ("lifespan", "", "", "application"),
    ],
)
def test_only_what_is_posted_to_a_receiver_goes_straight(type_: str, method: str, path: str, answer: str) -> None:
    """Other methods, other paths and the application's own life are the framework's, as before."""
    assert answered(type_, method, path) == answer
