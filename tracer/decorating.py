"""Turns a step into a decorator of functions, coroutines and generators, each call with a step of its own."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Protocol, TypeVar, cast

from opentelemetry import context as otel_context

F = TypeVar("F", bound=Callable[..., Any])


class Opened(Protocol):
    """The part of a step that a decorated generator uses: it is current only while the generator's body runs."""

    def open(self) -> None: ...
    def close(self, error: BaseException | None = None) -> None: ...
    def current(self) -> otel_context.Context: ...


class Decorator:
    """Makes a step usable as ``@tracer.step(...)``."""

    __slots__ = ()

    def again(self) -> Any:
        """Return a fresh step for one call."""
        raise NotImplementedError

    def __call__(self, function: F) -> F:
        """Decorate *function*: every call is one step; a generator is one step from first to last item."""
        if inspect.isasyncgenfunction(function):
            wrapped: Callable[..., Any] = self._around_async_generator(function)
        elif inspect.isgeneratorfunction(function):
            wrapped = self._around_generator(function)
        elif inspect.iscoroutinefunction(function):
            wrapped = self._around_coroutine(function)
        else:
            wrapped = self._around_call(function)
        return cast(F, wrapped)

    def _around_call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.again():
                return function(*args, **kwargs)

        return call

    def _around_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            with self.again():
                return await function(*args, **kwargs)

        return call

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return _drive(self.again(), function(*args, **kwargs))

        return call

    def _around_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            return _drive_async(self.again(), function(*args, **kwargs))

        return call


def carry(function: F) -> F:
    """Return *function* so that it runs below the step that is open now: for threads and executors.

    A coroutine function stays one, and so does one that makes a generator, whose body runs below the step whoever asks
    for its items. The result can be called many times, also at the same time.
    """
    context = otel_context.get_current()
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        drive: Callable[..., Any] = _drive if inspect.isgeneratorfunction(function) else _drive_async
        return cast(
            F, functools.wraps(function)(lambda *args, **kwargs: drive(_Below(context), function(*args, **kwargs)))
        )

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        token = otel_context.attach(context)
        try:
            return function(*args, **kwargs)
        finally:
            otel_context.detach(token)

    @functools.wraps(function)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        token = otel_context.attach(context)
        try:
            return await function(*args, **kwargs)
        finally:
            otel_context.detach(token)

    return cast(F, call_async if inspect.iscoroutinefunction(function) else call)


class _Below:
    """A context that was taken along, in the place of a step that is opened and closed."""

    def __init__(self, context: otel_context.Context) -> None:
        self._context = context

    def open(self) -> None:
        """Do nothing: the step around is somebody else's."""

    def close(self, error: BaseException | None = None) -> None:
        """Do nothing."""

    def current(self) -> otel_context.Context:
        return self._context


def _drive(step: Opened, body: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    step.open()
    failure: BaseException | None = None
    resume, given = body.send, None
    try:
        while True:
            token = otel_context.attach(step.current())
            try:
                item = resume(given)
            except StopIteration as stop:
                return stop.value
            finally:
                otel_context.detach(token)
            try:
                given = yield item
                resume = body.send
            except GeneratorExit:
                body.close()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown into the body, which decides
                resume, given = body.throw, error
    except BaseException as error:
        failure = error
        raise
    finally:
        step.close(failure)


async def _drive_async(step: Opened, body: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    step.open()
    failure: BaseException | None = None
    resume: Callable[[Any], Any] = body.asend
    given: Any = None
    try:
        while True:
            token = otel_context.attach(step.current())
            try:
                item = await resume(given)
            except StopAsyncIteration:
                return
            finally:
                otel_context.detach(token)
            try:
                given = yield item
                resume = body.asend
            except GeneratorExit:
                await body.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown into the body, which decides
                resume, given = body.athrow, error
    except BaseException as error:
        failure = error
        raise
    finally:
        step.close(failure)
