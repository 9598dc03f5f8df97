"""The way of a request to what takes it, past the web framework, a quarter of the event loop's work for a request of one span."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Post: TypeAlias = Callable[[Request], Awaitable[Response]]
"""Answers a request and never raises: no layer around it is missed."""


class Straight:
    """An ASGI application that hands what is posted to a known path to its receiver, and everything else to *app*."""

    def __init__(self, app: ASGIApp, posts: Mapping[str, Post]) -> None:
        self._app = app
        self._posts = posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        post = self._posts.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if post is None:
            await self._app(scope, receive, send)
            return
        response = await post(Request(scope, receive, send))
        await response(scope, receive, send)
