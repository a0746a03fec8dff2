"""The real test engine as other agents meet it: both APIs, and requests beside the one that a test is about.

Never answers in the engine's place, as its parent does not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from engine.server import ForcedEngine

if TYPE_CHECKING:
    from glm_lsp.engine.local.process import Running

CHATS = {"/v1/chat/completions", "/v1/messages"}


class ListeningEngine(ForcedEngine):
    """Says what is queued to requests that offer tools, and `aside` to all others, which only want a title or so.

    Attributes:
        seen: path and body of each chat request with tools as it reached the engine, oldest first.
        asides: the others.
        aside: what those are told.
    """

    def __init__(self, running: Running, *, tools_only: bool = True) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.asides: list[tuple[str, dict[str, Any]]] = []
        self.aside = "A title is wanted.</think>Cart"
        self._tools_only = tools_only
        super().__init__(running)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.method == "POST" and request.path in CHATS:
            chat = json.loads(body)
            main = bool(chat.get("tools")) or not self._tools_only
            (self.seen if main else self.asides).append((request.path, chat))
            if main and not self._script:
                self.refused += 1
                message = "The test has nothing left to say."
                return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=400)
            wanted = self._script.popleft() if main else self.aside
            tokens = wanted if isinstance(wanted, list) else await self._tokens(wanted)
            body = json.dumps(chat | {"vllm_xargs": {"force_token_ids": tokens}}).encode()
        headers = {"Content-Type": "application/json"}
        url = f"http://engine{request.path_qs}"
        async with self._upstream.request(request.method, url, data=body or None, headers=headers) as got:
            reply = web.StreamResponse(status=got.status, headers={"Content-Type": got.headers["Content-Type"]})
            await reply.prepare(request)
            async for chunk in got.content.iter_any():
                await reply.write(chunk)
            await reply.write_eof()
            return reply
