"""What a client is told when something fails: a code, a sentence, and never a traceback or a path of ours.

Never hides a failure: what the client is not told in full is in the log, under a number that both carry.
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any, Final

import cattrs
import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from glm_lsp import errors

if TYPE_CHECKING:
    from cattrs import Converter

log = logging.getLogger(__name__)

CODES: Final[tuple[tuple[type[errors.GlmError], int], ...]] = (
    (errors.Conflict, types.LSPErrorCodes.ContentModified),
    (errors.GlmError, types.LSPErrorCodes.RequestFailed),
)
"""The code for each of our errors; the first class that fits."""


def answer_to(error: BaseException, method: str) -> dict[str, Any]:
    """The `error` member of the response to a request whose handler raised `error`."""
    if isinstance(error, errors.GlmError):
        code = next(code for kind, code in CODES if isinstance(error, kind))
        return failure(code, error.message, {"code": error.code, "hint": error.hint})
    if isinstance(error, JsonRpcException):
        data = error.data
        if isinstance(data, dict):
            data = {name: value for name, value in data.items() if name != "traceback"} or None
        return failure(error.code, error.message, data)
    return failure(types.ErrorCodes.InternalError, incident(error, method))


def incident(error: BaseException, method: str) -> str:
    """Logs a failure that nobody foresaw, and gives the sentence that points at the log."""
    number = uuid.uuid4().hex[:8]
    log.error("incident %s in %s", number, method, exc_info=error)
    return f"Something went wrong inside glm-lsp ({method}). The log has it as incident {number}."


def failure(code: int, message: str, data: Any = None) -> dict[str, Any]:
    """A JSON-RPC error object."""
    return {"code": int(code), "message": message} | ({} if data is None else {"data": data})


def structured(params: Any, kind: Any, converter: Converter) -> Any:
    """Plain data as `kind`: a `msgspec.Struct`, or a class of the protocol.

    Raises:
        JsonRpcInvalidParams: it does not fit; the message says where and how.
    """
    try:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return msgspec.convert({} if params is None else params, kind)
        return converter.structure(params, kind)
    except msgspec.ValidationError as error:
        raise JsonRpcInvalidParams(_sentence([str(error)])) from None
    except Exception as error:  # noqa: BLE001 - hooks for unions raise whatever the data made them stumble over
        told = cattrs.transform_error(error) if isinstance(error, cattrs.BaseValidationError) else []
        raise JsonRpcInvalidParams(_sentence(told)) from None


def _sentence(told: list[str]) -> str:
    """At most three complaints, with paths as the client spells them."""
    lines = []
    for line in told[:3]:
        words, at, path = line.partition(" @ ")
        lines.append(f"{words}{at}{_camel(path)}"[:160])
    return f"Invalid params: {'; '.join(lines)}." if lines else "Invalid params: they do not have the expected shape."


def _camel(path: str) -> str:
    head, *rest = path.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)
