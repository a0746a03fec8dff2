"""The extension in a real VS Code: what is there once it has started, and what happens when things end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from test_refactor import CART

from vscode.editor import EXTENSION, until

if TYPE_CHECKING:
    from vscode.editor import VSCode


def test_it_asks_for_no_proposed_api_and_contributes_what_it_says(vscode: VSCode) -> None:
    window = vscode.open()
    window.active()
    told = window.host(
        "const { packageJSON } = vscode.extensions.getExtension(args.id);"
        "const all = await vscode.commands.getCommands(true);"
        "return { proposals: packageJSON.enabledApiProposals ?? [], activation: packageJSON.activationEvents,"
        " missing: packageJSON.contributes.commands.map((c) => c.command).filter((c) => !all.includes(c)) }",
        id=EXTENSION,
    )
    assert told["proposals"] == []
    assert "*" not in told["activation"], "it would slow down every start"
    assert told["missing"] == [], "each command in the palette is one that can be run"


def test_one_server_runs_while_the_window_is_open(vscode: VSCode) -> None:
    vscode.engine({"text": "Yes."})
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    server = until("a server", vscode.servers)[0]
    window.edit("cart.py", 2, 5)
    assert until("the menu", window.actions)
    assert [each.pid for each in vscode.servers()] == [server.pid]
    window.close()
    until("the server has ended", lambda: not server.is_running() or not vscode.servers(), seconds=60)


def test_a_server_that_crashed_is_started_again(vscode: VSCode) -> None:
    vscode.engine({"text": "Yes."})
    vscode.has("cart.py", CART)
    window = vscode.open()
    window.active()
    window.edit("cart.py", 2, 5)
    assert until("the menu", window.actions)
    window.keys("Escape")
    first = vscode.servers()[0].pid
    vscode.servers()[0].kill()
    until("another server", lambda: [each for each in vscode.servers() if each.pid != first])
    assert until("the menu again", window.actions)
