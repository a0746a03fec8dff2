"""Two editors and a headless run on one engine at the same moment: each gets its own answers, and none waits in line.

Never lets them take turns: the relay holds their first requests back until all three are there.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from engine.server import tool_call
from lsp.editor import FakeEditor
from test_real_neovim import TAKES_IT, Neovim
from test_refactor import BETTER, CART, NEW, OLD, Person

if TYPE_CHECKING:
    from pathlib import Path

    from engine.server import ForcedEngine

pytestmark = pytest.mark.engine


async def test_two_editors_and_a_headless_run_share_one_engine(tmp_path: Path, glm_engine: ForcedEngine) -> None:
    neovim = Neovim(Person(tmp_path / "neovim"), glm_engine.url)
    headless = Person(tmp_path / "headless")
    (headless.root / "trolley.py").write_text(CART)
    other = tmp_path / "other"
    (other / "work").mkdir(parents=True)
    (other / "work" / "basket.py").write_text(CART)
    for file, words in (("cart.py", ""), ("trolley.py", "trolley.py"), ("basket.py", "basket.py")):
        glm_engine.say(
            f"Quantities are missing in {file}.</think>"
            + tool_call("edit_file", file_path=file, old_string=OLD, new_string=NEW),
            f"That is all.</think>{file} counts quantities.",
            to=words,
        )
    glm_engine.meet(3)

    async def at_the_other_editor() -> str:
        async with FakeEditor(other / "work", glm_engine.url, own=True) as editor:
            await editor.open("basket.py")
            await editor.select(1, 4)
            assert (await editor.choose("Simplify"))["accepted"]
            await editor.until(editor.labels)
            await editor.quiet()
            return await editor.text("basket.py")

    live = asyncio.to_thread(neovim.live, TAKES_IT)
    run = asyncio.to_thread(
        headless.run, "count quantities", "trolley.py", "--apply", "--output", "ndjson", engine=glm_engine.url
    )
    told, done, text = await asyncio.gather(live, run, at_the_other_editor())

    assert told["text"] == BETTER
    assert text == BETTER
    assert done.returncode == 0, done.stdout + done.stderr
    assert headless.read("trolley.py") == BETTER
    assert glm_engine.unsaid == ()
    assert len(glm_engine.requests) == 6
    thoughts = [json.loads(line) for line in done.stdout.splitlines()]
    said = "".join(event["text"] for event in thoughts if event["event"] == "thinking-added")
    assert "trolley.py" in said
    assert "cart.py" not in said.replace("trolley.py", ""), "nobody reads what another's model thinks"
