"""What a review, a chat and the health page look like: as text for the tests, as pictures for the README.

Never draws anything itself: a screen is what Neovim drew. `make screens-nvim` writes what is kept.
"""

from __future__ import annotations

import io
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from neovim.plugged import HERE, MONEY, ROOT, decimals, plugged

SCREENS = HERE / "screens"
PICTURES = ROOT / "docs" / "images"
BEGIN = "vim.o.columns, vim.o.lines, vim.o.termguicolors = 100, 26, true\nvim.o.number = true\nperson.ready()\n"
SHOW = "\nvim.cmd('echo')\nperson.tell('screen', person.screen())\nperson.tell('cells', person.cells())\n"
USAGE = {"read": 31_880, "written": 612, "cached": 31_240, "thought": 480}
READ = {"name": "read_file", "arguments": {"file_path": "cart.py"}}


@dataclass(frozen=True)
class Scene:
    """A story that ends with a screen, and what the engine says in it."""

    story: str
    replies: tuple[dict[str, Any], ...] = ()
    chop: int = 0
    picture: bool = False


SCENES = {
    "review": Scene(
        BEGIN
        + """
        vim.cmd("Glm refactor use Decimal for money")
        local review = require("glm_lsp.review")
        person.wait("three hunks are under review", function() return review.waiting() == 3 end)
        person.keys("]h]h")
        """
        + SHOW,
        (
            {"thinking": "Floats round.", "calls": decimals(), "usage": USAGE},
            {"text": "Prices are Decimal now, and quantities count.", "usage": USAGE},
        ),
        picture=True,
    ),
    "preview": Scene(
        BEGIN
        + """
        vim.cmd("Glm refactor use Decimal for money")
        local space = vim.api.nvim_create_namespace("glm_lsp.preview")
        person.wait("a hunk grows", function()
          local marks = vim.api.nvim_buf_get_extmarks(0, space, 0, -1, { details = true })
          return vim.iter(marks):any(function(mark)
            return vim.inspect(mark[4].virt_lines or {}):find("empty cart", 1, true)
          end)
        end)
        vim.o.statusline = "%f"
        """
        + SHOW
        + "vim.cmd('Glm stop')\n",
        ({"calls": decimals()[2:], "text": "", "usage": USAGE}, {"thinking": "So it is. " * 4000}),
        chop=6,
    ),
    "chat": Scene(
        BEGIN
        + """
        vim.o.columns, vim.o.lines = 118, 32
        vim.cmd("Glm Why is the average of an empty cart wrong?")
        local chat = require("glm_lsp.chat").of()
        person.wait("it has ended", function() return chat.turn == nil and vim.b.ts_highlight end)
        vim.cmd.normal("gg0")
        """
        + SHOW,
        (
            {
                "thinking": "The average divides by the number of items.\nWith none, that is zero.",
                "calls": [READ],
                "usage": USAGE,
            },
            {
                "text": "`average` divides by `len(items)`, which is 0 for an empty cart:\n\n"
                "```python\nreturn total(items) / len(items)\n```\n\n"
                "Python raises `ZeroDivisionError` there. Say what an empty cart should give:\n\n"
                "- `Decimal(0)`, if it is shown to people;\n- `None`, if it is counted with.",
                "usage": USAGE,
            },
        ),
        chop=3,
        picture=True,
    ),
}

HEALTH = (
    BEGIN
    + """
    vim.cmd("checkhealth glm_lsp")
    local page, ours, engine = person.text(), nil, nil
    ours, engine = page:match("(glm%-lsp ~.*)the engine ~(.*)")
    -- What is said of a machine differs from machine to machine; what is looked at does not.
    local looked = {}
    for name in engine:gmatch("\\n%- %S+ %u+ ([%w ]+):") do table.insert(looked, "- " .. name) end
    person.tell("screen", ours .. "the engine ~\\n" .. table.concat(looked, "\\n") .. "\\n")
    person.tell("page", page)
    """
)


def shown(name: str, folder: Path) -> dict[str, Any]:
    """What a scene's story told, played in an empty folder."""
    neovim = plugged(folder)
    scene = SCENES.get(name) or Scene(HEALTH, ({"text": "Yes."},))
    neovim.has("cart.py", MONEY)
    more = {"chop": scene.chop, "delay": 0.01} if scene.chop else {"repeat": name == "health"}
    neovim.engine = neovim.person.script(*scene.replies, **more)
    return neovim.play(scene.story)


def masked(screen: str) -> str:
    """A screen without what differs from run to run and from machine to machine."""
    rows = []
    for row in screen.splitlines():
        text = re.sub(r"\d+(\.\d+)? s\b", "N s", row)
        text = re.sub(r"\b\d+\.\d+(\.\w+)*(\+\S+)?", "V", re.sub(r"(?<=[ '\"(:])(scripted:)?/\S*/", "…/", text))
        rows.append(re.sub(r"(?<=  )N s$", "N s", text).rstrip())
    return "\n".join(rows) + "\n"


def picture(cells: dict[str, Any], title: str) -> str:
    """A screen as SVG, which refers to no font on the network."""
    width = sum(len(run["text"]) for run in cells["rows"][0])
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for row in cells["rows"]:
        line = Text(no_wrap=True, overflow="ignore")
        for run in row:
            # Spaces at the ends of a run stand alone: some that draw SVG leave them out of a text.
            for part in re.findall(r"^ +|\S(?:.*\S)?| +$", run["text"]):
                line.append(part, _style(run["look"], cells))
        console.print(line)
    theme = TerminalTheme(_rgb(cells["background"]), _rgb(cells["foreground"]), [(0, 0, 0)] * 8)
    svg = console.export_svg(title=title, theme=theme, unique_id=re.sub(r"\W", "", title))
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def words_of(svg: str) -> str:
    """The text of a picture, masked as a screen is."""
    text = re.sub(r"<[^>]+>", "", re.sub(r"</text>", "\n", svg.partition("</defs>")[2]))
    return masked(re.sub(r"\d+(\.\d+)?&#160;s\b", "N s", text))


def _style(look: dict[str, Any], cells: dict[str, Any]) -> Style:
    front, back = look.get("foreground", cells["foreground"]), look.get("background", cells["background"])
    if look.get("reverse"):
        front, back = back, front
    return Style(
        color=f"#{front:06x}",
        bgcolor=f"#{back:06x}" if back != cells["background"] else None,
        bold=look.get("bold"),
        italic=look.get("italic"),
        underline=look.get("underline"),
    )


def _rgb(colour: int) -> tuple[int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255


def main() -> None:
    """Writes the screens that the tests compare with, and the pictures."""
    SCREENS.mkdir(exist_ok=True)
    for name in (*SCENES, "health"):
        with tempfile.TemporaryDirectory() as folder:
            told = shown(name, Path(folder))
        (SCREENS / f"{name}.txt").write_text(masked(told["screen"]), encoding="utf-8")
        if name in SCENES and SCENES[name].picture:
            target = PICTURES / f"nvim-{name}.svg"
            target.write_text(picture(told["cells"], f"Neovim: {name}"), encoding="utf-8")


if __name__ == "__main__":
    main()
