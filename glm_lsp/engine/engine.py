"""The Engine protocol: whoever turns a Prompt into Deltas.

Never knows what is done with the Deltas, nor which server sends them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from glm_lsp.engine.profiles import Profile
    from glm_lsp.terms import Delta, Prompt


class Engine(Protocol):
    """A model behind a server, or a script that stands for one."""

    @property
    def model(self) -> str:
        """The name the engine serves the model under."""
        ...

    @property
    def profile(self) -> Profile:
        """What is known of the model, as probed; only valid after `connect`."""
        ...

    async def connect(self) -> None:
        """Finds the server and the model and learns their abilities; safe to call twice.

        Raises:
            EngineError: nothing there, the wrong model, or not allowed.
        """
        ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        """Sends one request and yields what comes back; closing the iterator frees the engine at once.

        The last Delta carries `finish`; a usage Delta may come with it or before it.

        Raises:
            EngineError: as its tree says; after the first Delta nothing is retried.
        """
        ...

    def take_notes(self) -> tuple[str, ...]:
        """What a person should know of this engine and has not been told: each thing once, as a sentence."""
        ...

    async def close(self) -> None:
        """Lets go of connections; the engine itself runs on."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """An engine that can say how many tokens a text has."""

    async def count(self, text: str) -> int | None:
        """The tokens of a text; None where the server does not say, which is no failure."""
        ...
