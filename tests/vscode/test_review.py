"""From a code action to edits that a person took over: in the text, in the diff editor, in one page, in the preview."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vscode.editor import until

if TYPE_CHECKING:
    from vscode.editor import VSCode, Window

CART = "def total(items):\n    return sum(i.price for i in items)\n\n\ndef count(items):\n    return len(items)\n"
HEAD = "def total(items):\n"
DOCUMENTED = CART.replace(HEAD, HEAD + '    """Adds up."""\n')
BOTH = DOCUMENTED.replace("len(items)", "len(list(items))")
DONE: dict[str, Any] = {"text": "It adds up, so it says so."}


def edits(path: str, old: str, new: str) -> dict[str, Any]:
    return {"name": "edit_file", "arguments": {"file_path": path, "old_string": old, "new_string": new}}


DOCUMENT: dict[str, Any] = {"thinking": "Short.", "calls": [edits("cart.py", HEAD, HEAD + '    """Adds up."""\n')]}
TWO: dict[str, Any] = {
    "calls": [*DOCUMENT["calls"], edits("cart.py", "    return len(items)", "    return len(list(items))")]
}
READ: dict[str, Any] = {"calls": [{"name": "read_file", "arguments": {"file_path": "shop.py"}}]}
FILES: dict[str, Any] = {
    "calls": [*DOCUMENT["calls"], edits("shop.py", "import cart\n", "import cart as c\n")],
}


def begun(vscode: VSCode, *replies: dict[str, Any], **more: Any) -> Window:
    """A window with the cart in it, and the cursor on the first line."""
    vscode.engine(*replies, **more)
    vscode.has("cart.py", CART)
    vscode.has("shop.py", "import cart\n")
    window = vscode.open()
    window.active()
    until("the server's commands", lambda: "glm.refactor" in window.host("return await vscode.commands.getCommands()"))
    window.edit("cart.py", 1, 5)
    return window


def lenses(window: Window) -> list[str]:
    return [text.strip() for text in window.page.locator(".codelens-decoration a").all_inner_texts()]


def lens(window: Window, title: str) -> None:
    found = window.page.locator(".codelens-decoration a").filter(has_text=title).first
    found.wait_for()
    found.click()


def test_one_small_change_is_marked_in_the_text_and_kept_with_a_click(vscode: VSCode) -> None:
    window = begun(vscode, DOCUMENT, DONE)
    window.act("GLM: Document")
    window.holds(DOCUMENTED, "cart.py")
    until("its lenses", lambda: lenses(window)[:4] == ["Accept", "Reject", "Compare", "Why"])
    lens(window, "Accept")
    until("the marks are gone", lambda: not lenses(window))
    assert window.text("cart.py") == DOCUMENTED
    assert vscode.read("cart.py") == CART, "saving is the person's"
    window.keys("Control+z")
    window.holds(CART, "cart.py")


def test_one_small_change_is_put_back_with_a_key_and_what_was_typed_below_stays(vscode: VSCode) -> None:
    window = begun(vscode, DOCUMENT, DONE)
    window.act("GLM: Document")
    window.holds(DOCUMENTED, "cart.py")
    until("its lenses", lambda: "Reject" in lenses(window))
    window.edit("cart.py", 7, 1)
    window.type("x = 1")
    window.edit("cart.py", 1, 1)
    window.keys("Enter")
    window.edit("cart.py", 3, 1)
    window.keys("Control+Alt+Backspace")
    window.holds("\n" + CART.replace("    return len", "x = 1    return len"), "cart.py")


def test_why_says_what_the_model_said(vscode: VSCode) -> None:
    window = begun(vscode, DOCUMENT, DONE)
    window.act("GLM: Document")
    window.holds(DOCUMENTED, "cart.py")
    until("the turn has ended", lambda: "Why" in lenses(window))
    until("what it said has come", lambda: window.host("return true"))
    lens(window, "Why")
    window.dialog("It adds up, so it says so.", button="OK")


def test_a_file_is_decided_hunk_by_hunk_in_the_diff_editor(vscode: VSCode) -> None:
    window = begun(vscode, TWO, DONE)
    window.act("GLM: Document")
    page = window.page.locator(".diffEditor, .monaco-diff-editor").first
    page.wait_for()
    window.see("Adds up.", within=".monaco-diff-editor")
    assert window.text("cart.py") == CART, "nothing is made before it is accepted"
    window.run("GLM: Accept Change")
    window.holds(DOCUMENTED, "cart.py")
    window.run("GLM: Reject Change")
    until("nothing waits", lambda: not window.page.locator(".monaco-diff-editor").is_visible())
    assert window.text("cart.py") == DOCUMENTED


def test_several_files_are_shown_on_one_page_with_a_list_of_boxes(vscode: VSCode) -> None:
    window = begun(vscode, READ, FILES, DONE)
    window.command("glm.refactor", {"instruction": "use c", "uri": f"file://{vscode.root}/cart.py"})
    window.see("shop.py", within=".multiDiffEditor, .multi-diff-editor, .editor-container")
    row = window.page.locator("[id='workbench.view.extension.glm'] .monaco-list-row")
    until("the list of proposals", lambda: row.filter(has_text="use c").count())
    row.filter(has_text="shop.py").locator(".custom-view-tree-node-item-checkbox").first.click()
    row.filter(has_text="use c").hover()
    row.filter(has_text="use c").get_by_label("Accept Checked Changes").click()
    window.holds(DOCUMENTED, "cart.py")
    assert window.text("shop.py") == "import cart\n"
    row.filter(has_text="use c").hover()
    row.filter(has_text="use c").get_by_label("Reject All Changes").click()
    until("nothing waits", lambda: row.count() == 0)
    window.command("glm-lsp.review.undo")
    window.holds(CART, "cart.py")


def test_a_rename_goes_through_the_preview_of_refactorings_with_words_of_the_person(vscode: VSCode) -> None:
    rename = {
        "calls": [
            edits("cart.py", "def total(items):", "def sum_up(items):"),
            edits("shop.py", "import cart\n", "import cart\n\ncart.sum_up([])\n"),
        ]
    }
    window = begun(vscode, READ, rename, DONE)
    window.act("GLM: Rename")
    window.answer("sum_up")
    window.see("Refactor Preview")
    assert window.text("cart.py") == CART
    rows = window.page.locator(".part.panel .monaco-list-row")
    for file in ("cart.py", "shop.py"):
        rows.filter(has_text=file).first.locator("[role=checkbox], input[type=checkbox]").first.click()
    window.page.locator(".part.panel").get_by_text("Apply", exact=True).first.click()
    window.holds(CART.replace("total", "sum_up"), "cart.py")
    window.holds("import cart\n\ncart.sum_up([])\n", "shop.py")


def test_a_change_whose_place_was_rewritten_is_said_to_be_stale_and_can_be_asked_for_again(vscode: VSCode) -> None:
    again = {
        "when": "Make this change again",
        "calls": [edits("cart.py", "def total(things):\n", "def all(things):\n")],
    }
    first = {"calls": [edits("cart.py", HEAD, "def all(items):\n"), *TWO["calls"][1:]]}
    window = begun(vscode, first, DONE, again, {"when": "Make this change again", **DONE})
    window.act("GLM: Document")
    window.page.locator(".monaco-diff-editor").first.wait_for()
    window.edit("cart.py", 1, 11, to=(1, 16))
    window.type("things")
    window.see("Moved: the code here changed since")
    lens(window, "Rebase")
    window.holds(CART.replace("def total(items)", "def all(things)"), "cart.py")


def test_undo_takes_a_new_file_back_with_the_rest(vscode: VSCode) -> None:
    new = {"name": "write_file", "arguments": {"file_path": "tax.py", "content": "RATE = 0.2\n"}}
    window = begun(vscode, {"calls": [*DOCUMENT["calls"], new]}, DONE)
    window.command("glm.refactor", {"instruction": "add tax", "uri": f"file://{vscode.root}/cart.py"})
    window.see("add tax", within="[id='workbench.view.extension.glm']")
    window.run("GLM: Accept All Changes")
    window.holds(DOCUMENTED, "cart.py")
    until("the new file", (vscode.root / "tax.py").exists)
    until(
        "nothing waits", lambda: not window.page.locator("[id='workbench.view.extension.glm'] .monaco-list-row").count()
    )
    window.run("GLM: Undo Last Changes in All Files")
    window.holds(CART, "cart.py")
    until("the new file is gone", lambda: not (vscode.root / "tax.py").exists())


def test_a_finding_is_fixed_or_dismissed_and_stays_away(vscode: VSCode) -> None:
    finding = {
        "name": "report_finding",
        "arguments": {
            "file_path": "cart.py",
            "first_line": 2,
            "last_line": 2,
            "severity": "warning",
            "message": "Ignores the quantity.",
        },
    }
    window = begun(vscode, {"calls": [finding]}, DONE, {"calls": [finding]}, {"text": "Nothing new."})
    window.command("glm.review", {"uri": f"file://{vscode.root}/cart.py", "wait": True})
    until("the finding", lambda: [one["message"] for one in window.problems("cart.py")] == ["Ignores the quantity."])
    window.edit("cart.py", 2, 6)
    window.act("Dismiss this finding")
    until("it is gone", lambda: not window.problems("cart.py"))
    window.command("glm.review", {"uri": f"file://{vscode.root}/cart.py", "wait": True})
    assert not window.problems("cart.py")
