"""The life of a request: read, checked, run, answered exactly once.

Never leaves a request without an answer, never blocks on the client, and never logs what a message holds.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import itertools
import logging
import time
import typing
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams, JsonRpcMethodNotFound
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from glm_lsp import errors
from glm_lsp.server import faults, frames, running
from glm_lsp.server.documents import Documents

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable

    from cattrs import Converter

    from glm_lsp.server.outbox import Outbox

log = logging.getLogger(__name__)
for _name, _level in (("pygls", logging.WARNING), ("pygls.protocol", logging.CRITICAL)):
    logging.getLogger(_name).setLevel(_level)  # they log payloads, which are a person's source code

Id = str | int

SECONDS_TO_END: Final = 0.5
"""How long work that was cancelled may take to say goodbye."""


class GlmProtocol(LanguageServerProtocol):
    """One client's conversation with us. Everything here runs on the event loop, except `notify` and `encoded`.

    Attributes:
        outbox: what waits to be written; set by the connection before anything arrives.
        on_progress_cancel: what to call when the person cancels a bar, by its token.
        exit_code: what the process should end with, were it to end now.
    """

    _server: Host
    outbox: Outbox

    def __init__(self, server: Host, converter: Converter) -> None:
        super().__init__(server, converter)
        self._state: typing.Literal["new", "initializing", "ready", "shut"] = "new"
        self._open: dict[Id, running.Request] = {}
        self._asked: dict[Id, tuple[Future[Any], str]] = {}
        self._work: set[asyncio.Future[Any]] = set()
        self._numbers = itertools.count(1)
        self._stop: Callable[[int], None] = lambda _code: None
        self.on_progress_cancel: dict[types.ProgressToken, Callable[[], object]] = {}
        self.exit_code = 1

    # --- the connection's side -----------------------------------------------------------------------------------

    def connect(self, outbox: Outbox, stop: Callable[[int], None]) -> None:
        """Gives the protocol its way out, and what to call when the client asks the process to end."""
        self.outbox = outbox
        self._stop = stop

    def receive(self, incoming: running.Incoming) -> bool:
        """Takes one message as it was read; says whether it began work that wants the loop before the next message."""
        message = incoming.message
        if isinstance(message, frames.Broken):
            self._respond(None, error=faults.failure(message.code, message.message))
            return False
        if not isinstance(message, dict):
            what = "Batches are not part of the protocol." if isinstance(message, list) else "This is not a message."
            self._respond(None, error=faults.failure(types.ErrorCodes.InvalidRequest, what))
            return False
        before = len(self._work)
        contextvars.copy_context().run(self._dispatch, message, incoming)
        return len(self._work) > before

    def failed(self, incoming: running.Incoming, error: Exception) -> None:
        """Answers a request that could not be taken because of a defect of ours."""
        answer = faults.answer_to(error, "a message")
        number = incoming.message.get("id") if isinstance(incoming.message, dict) else None
        if isinstance(number, (str, int)) and number in self._open:
            self._answer(number, error=answer)

    async def end(self) -> None:
        """Cancels everything that runs and everything that we asked; waits for it a moment."""
        for future, _method in list(self._asked.values()):
            future.cancel()
        self._asked.clear()
        for work in self._work:
            work.cancel()
        if self._work:
            await asyncio.wait(self._work, timeout=SECONDS_TO_END)
        for number in list(self._open):
            self._answer(number, error=running.cancelled())

    # --- sending -------------------------------------------------------------------------------------------------

    def encoded(self, message: dict[str, Any]) -> bytes:
        """A message as bytes; params and results may be plain data, classes of the protocol or `msgspec.Struct`s."""
        for part in ("params", "result"):
            if part in message and not isinstance(message[part], msgspec.Struct):
                message[part] = self._converter.unstructure(message[part])
        return frames.encode(message)

    def notify(self, method: str, params: Any | None = None, *, key: Hashable | None = None) -> None:
        """Sends a notification; from any thread.

        With a `key` it keeps its place among what the outbox streams under that key, else among everything.
        """
        message = {"jsonrpc": self.VERSION, "method": method} | ({} if params is None else {"params": params})
        self.outbox.send(self.encoded(message), key)
        if isinstance(params, types.ProgressParams) and isinstance(params.value, types.WorkDoneProgressEnd):
            self.progress.tokens.pop(params.token, None)  # pygls keeps them for ever

    def send_request(
        self,
        method: str,
        params: Any | None = None,
        callback: Callable[[Any], None] | None = None,
        msg_id: Id | None = None,
    ) -> Future[Any]:
        """Asks the client; cancelling the future tells it so.

        The future holds the typed result, or `JsonRpcException` where the client answers with an error.
        """
        number = self.new_id("ask") if msg_id is None else msg_id
        future: Future[Any] = Future()
        self._asked[number] = (future, method)
        future.add_done_callback(functools.partial(self._maybe_withdraw, number))
        if callback is not None:
            future.add_done_callback(lambda done: callback(done.result()) if not done.cancelled() else None)
        message = {"jsonrpc": self.VERSION, "id": number, "method": method}
        self.outbox.send(self.encoded(message | ({} if params is None else {"params": params})))
        return future

    def new_id(self, purpose: str) -> str:
        """An id or token that no one else uses."""
        return f"glm-{purpose}-{next(self._numbers)}"

    def offers_progress(self) -> bool:
        """Whether the client shows bars that we ask for."""
        capabilities = getattr(self, "client_capabilities", None)
        return bool(capabilities and capabilities.window and capabilities.window.work_done_progress)

    # --- receiving -----------------------------------------------------------------------------------------------

    def _dispatch(self, message: dict[str, Any], incoming: running.Incoming) -> None:
        number = message.get("id")
        method = message.get("method")
        named = isinstance(number, (str, int)) and not isinstance(number, bool)
        if "method" not in message and ("result" in message or "error" in message or (named and number in self._asked)):
            self._take_response(number if named else None, message)
        elif not isinstance(method, str) or message.get("jsonrpc") != self.VERSION:
            why = 'A message has `"jsonrpc": "2.0"` and the name of a method.'
            if "id" in message or not isinstance(method, str):
                self._refuse(number if named else None, types.ErrorCodes.InvalidRequest, why)
        elif "id" not in message:
            self._take_notification(method, message.get("params"), incoming.size)
        elif not named:
            self._refuse(None, types.ErrorCodes.InvalidRequest, "The id of a request is a string or an integer.")
        elif number in self._open:
            self._refuse(number, types.ErrorCodes.InvalidRequest, "A request with this id is still being answered.")
        elif refusal := self._not_now(method):
            self._refuse(number, *refusal)
        elif incoming.cancelled:
            self._respond(number, error=running.cancelled())
        else:
            self._begin(typing.cast("Id", number), method, message.get("params"), incoming.size)

    def _not_now(self, method: str) -> tuple[int, str] | None:
        """Why a request cannot be taken in the connection's present state."""
        if self._state == "shut":
            return types.ErrorCodes.InvalidRequest, "The server was asked to shut down."
        if method == types.INITIALIZE and self._state != "new":
            return types.ErrorCodes.InvalidRequest, "The server is initialized already."
        if method != types.INITIALIZE and self._state != "ready":
            return types.ErrorCodes.ServerNotInitialized, "The server is not initialized."
        return None

    def _begin(self, number: Id, method: str, params: Any, size: int) -> None:
        request = running.Request(method, size, time.monotonic())
        self._open[number] = request
        if method == types.INITIALIZE:
            self._state = "initializing"
        try:
            if types.METHOD_TO_TYPES.get(method, (None, True))[1] is None:
                raise JsonRpcMethodNotFound(f"{method} is a notification.")
            handler = self._get_handler(method)
            typed = self._typed(method, params)
        except JsonRpcException as error:
            self._answer(number, error=faults.answer_to(error, method))
            return
        self._ctx_msg_id.set(number)
        self._execute_handler(number, handler, functools.partial(self._finished, number, request), (typed,))

    def _finished(self, number: Id, request: running.Request, future: Future[Any] | asyncio.Future[Any]) -> None:
        if self._open.get(number) is not request:
            return  # answered already: cancelled while a thread went on
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if isinstance(error, asyncio.CancelledError):
            self._answer(number, error=running.cancelled())
        elif error is not None:
            self._answer(number, error=faults.answer_to(error, request.method))
        else:
            self._answer(number, result=future.result())

    def _answer(self, number: Id, *, result: Any = None, error: dict[str, Any] | None = None) -> None:
        """Answers a request that is open; the only way out of `_open`."""
        request = self._open.pop(number)
        written, failed = self._respond(number, result, error, request.method)
        if request.method == types.INITIALIZE:
            self._state = "new" if failed else "ready"
        if self.trace is not types.TraceValue.Off:
            took = round((time.monotonic() - request.began) * 1000)
            outcome = "failed" if failed else "answered"
            self._log_trace(
                f"{request.method} ({number}) {outcome} in {took} ms", f"{request.size} bytes in, {written} bytes out"
            )

    def _respond(
        self, number: object, result: Any = None, error: dict[str, Any] | None = None, method: str = "message"
    ) -> tuple[int, bool]:
        """Sends a response; gives its size and whether it is an error."""
        if error is None:
            try:
                body = self.encoded({"jsonrpc": self.VERSION, "id": number, "result": result})
            except Exception as fault:  # noqa: BLE001 - whatever a handler returned, its request is answered
                error = faults.failure(types.ErrorCodes.InternalError, faults.incident(fault, method))
            else:
                self.outbox.send(body)
                return len(body), False
        body = frames.encode({"jsonrpc": self.VERSION, "id": number, "error": error})
        self.outbox.send(body)
        return len(body), True

    def _refuse(self, number: object, code: int, message: str) -> None:
        self._respond(number, error=faults.failure(code, message))

    def _take_notification(self, method: str, params: Any, size: int) -> None:
        if method == types.EXIT:
            self._stop(self.exit_code)
            return
        if self._state != "ready":
            return  # before initialize and after shutdown, the protocol has them dropped
        if method == types.CANCEL_REQUEST:
            self._cancel(params.get("id") if isinstance(params, dict) else None)
            return
        try:
            if types.METHOD_TO_TYPES.get(method, (None, None))[1] is not None:
                raise JsonRpcMethodNotFound(f"{method} is a request.")
            handler = self._get_handler(method)
            typed = self._typed(method, params)
        except JsonRpcException as error:
            if not method.startswith("$/"):
                log.warning("notification %r ignored: %s", method[:100], error.message)
            return
        began = time.monotonic()

        def done(future: Future[Any] | asyncio.Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if error is not None:
                self._server.notification_failed(method, error)
            if self.trace is not types.TraceValue.Off:
                took = round((time.monotonic() - began) * 1000)
                self._log_trace(f"{method} handled in {took} ms", f"{size} bytes in")

        self._execute_handler(None, handler, done, (typed,))

    def _take_response(self, number: Id | None, message: dict[str, Any]) -> None:
        future, method = self._asked.pop(number, (None, "")) if number is not None else (None, "")
        if future is None or future.done():
            log.info("a response that nobody waits for")
            return
        try:
            if message.get("error") is not None:
                fault = message["error"] if isinstance(message["error"], dict) else {}
                code = fault.get("code")
                raise JsonRpcException(
                    str(fault.get("message", "")), code if isinstance(code, int) else None, fault.get("data")
                )
            result = self._typed_result(method, message.get("result"))
        except JsonRpcException as error:
            running.settle(future, error=error)
        else:
            running.settle(future, result)

    def _cancel(self, number: object) -> None:
        """Cancels a request: a coroutine where it waits; for a thread, which nothing stops, it is answered at once."""
        request = self._open.get(number) if isinstance(number, (str, int)) else None
        if request is None:
            return
        if request.task is not None:
            request.task.cancel()
        elif request.method not in {types.INITIALIZE, types.SHUTDOWN}:
            self._answer(typing.cast("Id", number), error=running.cancelled())

    def _maybe_withdraw(self, number: Id, future: Future[Any]) -> None:
        if future.cancelled() and self._asked.pop(number, None) is not None:
            self.notify(types.CANCEL_REQUEST, {"id": number})

    # --- types ---------------------------------------------------------------------------------------------------

    def _get_handler(self, feature_name: str) -> Callable[..., Any]:
        self._server.before(feature_name)
        return super()._get_handler(feature_name)

    def get_message_type(self, method: str) -> type[Any] | None:  # type: ignore[override]  # see below
        """The class of a message; not cached, since the cache of the class it overrides keeps every server alive."""
        return types.METHOD_TO_TYPES.get(method, (None,))[0]

    def get_result_type(self, method: str) -> type[Any] | None:  # type: ignore[override]  # not cached either
        """The class of a response."""
        return types.METHOD_TO_TYPES.get(method, (None, None))[1]

    def _typed(self, method: str, params: Any) -> Any:
        ours = self._server.messages.get(method)
        if ours is not None:
            return params if ours[0] is None else faults.structured(params, ours[0], self._converter)
        standard = types.METHOD_TO_TYPES.get(method)
        if standard is None or standard[2] is None:
            return params
        return faults.structured(params, standard[2], self._converter)

    def _typed_result(self, method: str, result: Any) -> Any:
        ours = self._server.messages.get(method)
        if ours is not None:
            return result if ours[1] is None else faults.structured(result, ours[1], self._converter)
        response = self.get_result_type(method)
        if response is None:
            return result
        whole = {"jsonrpc": self.VERSION, "id": 0, "result": result}
        return faults.structured(whole, response, self._converter).result

    # --- running handlers ----------------------------------------------------------------------------------------

    def _execute_handler(
        self,
        msg_id: Id | None,
        handler: Callable[..., Any],
        callback: Callable[[Any], None],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Runs a handler as what it is: a coroutine, in a thread, a generator of pygls' own, or at once."""
        call = functools.partial(handler, *(args or ()), **(kwargs or {}))
        future: Future[Any] | asyncio.Future[Any]
        if inspect.iscoroutinefunction(handler):
            future = asyncio.ensure_future(running.guarded(call()))
            if msg_id is not None and msg_id in self._open:
                self._open[msg_id].task = future
            self._keep(future)
        elif running.wants_thread(handler):
            future = self._in_thread(call)
        else:
            future = Future()
            try:
                if inspect.isgeneratorfunction(handler):
                    self._run_generator(None, gen=call(), result_future=future)
                else:
                    future.set_result(call())
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler ends neither us nor the connection
                running.settle(future, error=error)
        future.add_done_callback(callback)

    def _run_generator(
        self, future: Future[Any] | None, *, gen: Generator[Any, Any, Any], result_future: Future[Any]
    ) -> None:
        """Takes one of pygls' generators a step further; what it yields is a handler to run for it."""
        if result_future.cancelled():
            return
        try:
            handler, args, kwargs = gen.send(None if future is None else future.result())
            step = functools.partial(self._run_generator, gen=gen, result_future=result_future)
            self._execute_handler(None, handler, step, args, kwargs)
        except StopIteration as ended:
            running.settle(result_future, ended.value)
        except asyncio.CancelledError:
            result_future.cancel()
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits
            running.settle(result_future, error=error)

    def _in_thread(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(self._server.thread_pool, context.run, call)

    def _keep(self, work: asyncio.Future[Any]) -> None:
        self._work.add(work)
        work.add_done_callback(self._work.discard)

    # --- the protocol's own methods ------------------------------------------------------------------------------

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        """Answers with what the server can do, after `GlmServer.amend_capabilities` has had its say."""
        if params.trace is not None:
            self.trace = types.TraceValue(params.trace)
        result = yield from super().lsp_initialize(params)
        self._workspace = Documents.instead_of(self.workspace)
        self._server.amend_capabilities(result.capabilities)
        return result

    @lsp_method(types.SHUTDOWN)
    async def lsp_shutdown(self, *args: Any) -> None:  # type: ignore[override]  # a coroutine can wait
        """Ends everything but the connection: requests that are open are cancelled and answered first."""
        self._state = "shut"
        self.exit_code = 0
        me = asyncio.current_task()
        try:
            if (handler := self.fm.features.get(types.SHUTDOWN)) is not None:
                await self._call(handler, args)
        finally:
            others = {work for work in self._work if work is not me}
            for work in others:
                work.cancel()
            if others:
                await asyncio.wait(others, timeout=SECONDS_TO_END)
            for number in [number for number, request in self._open.items() if request.task is not me]:
                self._answer(number, error=running.cancelled())

    @lsp_method(types.WORKSPACE_EXECUTE_COMMAND)
    async def lsp_workspace__execute_command(self, params: types.ExecuteCommandParams) -> Any:  # type: ignore[override]  # so that a cancellation reaches it
        """Runs a command in the task of its request: cancelling one cancels the other."""
        handler = self.fm.commands.get(params.command)
        if handler is None:
            raise JsonRpcInvalidParams(f"There is no command {params.command[:100]!r}.")
        return await self._call(handler, running.arguments(handler, params, self._converter))

    @lsp_method(types.WINDOW_WORK_DONE_PROGRESS_CANCEL)
    def lsp_work_done_progress_cancel(self, params: types.WorkDoneProgressCancelParams) -> Generator[Any, Any, None]:
        """Tells the work whose bar was cancelled."""
        if (cancelled := self.on_progress_cancel.pop(params.token, None)) is not None:
            cancelled()
        yield from super().lsp_work_done_progress_cancel(params)

    async def _call(self, handler: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if inspect.iscoroutinefunction(handler):
            return await handler(*args)
        if running.wants_thread(handler):
            return await self._in_thread(functools.partial(handler, *args))
        return handler(*args)

    # --- trace ---------------------------------------------------------------------------------------------------

    def _log_trace(self, message: str, verbose: str) -> None:
        """Says what happened, and in verbose mode how large it was; never what it held."""
        if self._state == "ready":
            more = {"verbose": verbose} if self.trace is types.TraceValue.Verbose else {}
            self.notify(types.LOG_TRACE, {"message": message, **more})


class Host(LanguageServer):
    """What the protocol and the connection want of their server; `GlmServer` is the one there is.

    Attributes:
        messages: our own methods: the classes of their params and results.
        record: called with each message's body, or None.
        outbox_options: what the outbox is made with.
        limit_bytes: the largest message that is read.
    """

    protocol: GlmProtocol
    messages: dict[str, tuple[type[Any] | None, type[Any] | None]]
    record: Callable[[str, float, bytes], None] | None
    outbox_options: dict[str, Any]
    limit_bytes: int

    def amend_capabilities(self, capabilities: types.ServerCapabilities) -> None:
        """Adds what pygls does not know of to what `initialize` answers; replaced by whoever has something to add."""

    def before(self, method: str) -> None:
        """Called before a message is looked at, so that what `initialize` does not need can wait until then."""

    def notification_failed(self, method: str, error: BaseException) -> None:
        """Tells the person what can be told; a notification has no answer that could carry it."""
        if isinstance(error, errors.GlmError):
            kind = types.MessageType.Error if error.level == "error" else types.MessageType.Warning
            message = f"{error.message} {error.hint}".strip()
        else:
            kind, message = types.MessageType.Log, faults.incident(error, method)
        method = types.WINDOW_LOG_MESSAGE if kind is types.MessageType.Log else types.WINDOW_SHOW_MESSAGE
        self.protocol.notify(method, {"type": kind.value, "message": message})
