"""The page of the GLM view by itself, in Chromium, told what the extension would tell it.

Never starts VS Code: `test_view.py` does.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Route

ORIGIN = "https://view.test"

POLICY = f"default-src 'none'; style-src {ORIGIN}; font-src {ORIGIN}; script-src 'nonce-n'"

HTML = f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>GLM</title>
<link rel="stylesheet" href="/view.css"></head>
<body class="vscode-dark"><script nonce="n" src="/view.js"></script></body></html>"""

EDITOR = """
globalThis.posted = [];
globalThis.violations = [];
document.addEventListener('securitypolicyviolation', (e) => violations.push(`${e.violatedDirective} ${e.blockedURI}`));
globalThis.acquireVsCodeApi = () => ({
  postMessage: (message) => posted.push(message),
});
"""

USAGE = {"inputTokens": 2000, "outputTokens": 40, "cachedTokens": 1900}


def _giving(file: Path) -> Callable[[Route], None]:
    return lambda route: route.fulfill(path=file)


class ViewPage:
    """The page, and the extension that it believes to be there.

    Attributes:
        page: Playwright's.
        errors: what went wrong in it.
    """

    def __init__(self, browser: Browser, dist: Path) -> None:
        self.page = browser.new_page(viewport={"width": 340, "height": 700})
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.add_init_script(EDITOR)
        self.page.route(f"{ORIGIN}/", lambda route: route.fulfill(body=HTML, content_type="text/html"))
        for file in dist.iterdir():
            self.page.route(f"{ORIGIN}/{file.name}", _giving(file))
        self._numbers = itertools.count(1)
        self.load()

    def load(self, kept: dict[str, Any] | None = None, strings: dict[str, str] | None = None) -> None:
        """Loads it as it is after a window was reloaded: `kept` is what it gave to keep."""
        self.page.goto(f"{ORIGIN}/")
        self.tell({"type": "strings", "strings": strings or {}, "locale": "en", "kept": kept})
        self.tell({"type": "surroundings", "surroundings": {"trusted": True, "folders": ["file:///shop"]}})

    def tell(self, *messages: dict[str, Any]) -> None:
        """Tells it something, and waits until it is drawn."""
        self.page.evaluate("messages => messages.forEach((m) => window.postMessage(m, '*'))", list(messages))
        self.settle()

    def settle(self) -> None:
        """Waits for two frames."""
        self.page.evaluate(
            "new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(r))))"
        )

    def posted(self, kind: str) -> list[dict[str, Any]]:
        """What it told the extension, of one type."""
        return self.page.evaluate("kind => posted.filter((m) => m.type === kind)", kind)

    def ask(self, words: str) -> str:
        """Asks as a person does; the turn's key."""
        self.field.fill(words)
        self.field.press("Enter")
        return self.posted("ask")[-1]["asked"]["key"]

    def begin(self, words: str = "Hello?", conversation: str = "c1") -> str:
        """Asks, and has the turn begin; its id."""
        key = self.ask(words)
        turn = f"t{next(self._numbers)}"
        self.tell({"type": "began", "key": key, "conversationId": conversation})
        self.event(
            turn, {"type": "start", "action": "chat", "instruction": words, "model": "glm-4.7", "thinking": True}
        )
        return turn

    def event(self, turn: str, *events: dict[str, Any], conversation: str = "c1") -> None:
        """Has something happen in a turn."""
        self.tell(*(self.told(turn, one, conversation) for one in events))

    def told(self, turn: str, event: dict[str, Any], conversation: str = "c1") -> dict[str, Any]:
        """An event as the extension passes it on."""
        event = {"files": [], **event} if event["type"] == "start" else event
        whole = {"v": 1, "turnId": turn, "conversationId": conversation, "seq": next(self._numbers), "t": 0.0}
        return {"type": "event", "event": {**whole, "event": event}}

    def end(self, turn: str, reason: str = "done", **more: Any) -> None:
        """Has a turn end."""
        self.event(turn, {"type": "end", "stopReason": reason, "usage": USAGE, "seconds": 2.0, **more})

    @property
    def field(self) -> Locator:
        """Where a person writes."""
        return self.page.get_by_role("textbox", name="Ask GLM")

    @property
    def said(self) -> str:
        """What a screen reader was told last."""
        return self.page.locator("[role=status]").inner_text()

    def focused(self) -> str:
        """What has the focus, as a screen reader names it."""
        return self.page.evaluate(
            "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).trim()"
        )

    def close(self) -> None:
        """Closes it; nothing may have gone wrong, and nothing have been forbidden by its policy."""
        assert self.errors == []
        assert self.page.evaluate("violations") == []
        self.page.close()
