"""What kind of function a handler is, what it is called with, and how it ends.

Never calls a handler: the protocol does.
"""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from lsprotocol import types
from pygls.constants import ATTR_EXECUTE_IN_THREAD
from pygls.exceptions import JsonRpcInvalidParams

from glm_lsp.server import faults

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from cattrs import Converter


def wants_thread(handler: Callable[..., Any]) -> bool:
    """Whether it was marked with `@server.thread()`."""
    return bool(getattr(handler, ATTR_EXECUTE_IN_THREAD, False))


def arguments(handler: Callable[..., Any], params: types.ExecuteCommandParams, converter: Converter) -> tuple[Any, ...]:
    """The arguments of a command, each as the class that its handler declares; what declares none stays plain.

    Raises:
        JsonRpcInvalidParams: there are too few or too many, or one does not fit.
    """
    given = list(params.arguments or ())
    plain = getattr(handler, "func", handler)
    parameters = list(inspect.signature(plain).parameters.values())[0 if plain is handler else 1 :]
    try:
        inspect.Signature(parameters).bind(*given)
    except TypeError as error:
        raise JsonRpcInvalidParams(f"{params.command}: {error}.") from None
    try:
        hints = typing.get_type_hints(plain)
    except NameError:
        hints = {}  # a name that is imported for type checkers only
    for place, (parameter, value) in enumerate(zip(parameters, given, strict=False)):
        hint = hints.get(parameter.name)
        if isinstance(hint, type) and (issubclass(hint, msgspec.Struct) or hasattr(hint, "__attrs_attrs__")):
            given[place] = faults.structured(value, hint, converter)
    return tuple(given)


async def guarded(handler: Awaitable[Any]) -> Any:
    """Awaits a handler, which cannot end the process."""
    try:
        return await handler
    except SystemExit as error:
        raise RuntimeError("a handler asked the process to exit") from error


def settle(future: Future[Any], result: Any = None, error: BaseException | None = None) -> None:
    """Gives a future its outcome, unless someone cancelled it meanwhile."""
    if not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


@dataclass(slots=True)
class Incoming:
    """A message as it was read: plain data, how many bytes it had, and whether it was cancelled while it waited."""

    message: Any
    size: int
    cancelled: bool = False


@dataclass(slots=True)
class Request:
    """One that is not answered yet: its method, how many bytes it had, when it came, and the task it runs in."""

    method: str
    size: int
    began: float
    task: asyncio.Future[Any] | None = None


def cancelled() -> dict[str, Any]:
    """The answer to a request that was cancelled."""
    return faults.failure(types.LSPErrorCodes.RequestCancelled, "The request was cancelled.")
