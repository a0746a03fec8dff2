"""Emacs itself, with the settings of its page: one code action and one question, in Eglot and in lsp-mode.

Run by `make test-editors`, which installs Emacs; never a part of the default run, which needs no package of the system.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from test_refactor import BETTER, CART, WORKS, Person  # noqa: E402 - the folder above is no package

PAGE = HERE.parent.parent / "docs" / "editors" / "emacs.md"
EGLOT, LSP_MODE = re.findall(r"^```elisp\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)

TOLD = """
(defun told (name value) (princ (format "%s=%S\\n" name value)))
(defun wait-until (what so)
  (let ((n 0))
    (while (and (< n 600) (not (funcall so))) (accept-process-output nil 0.1) (setq n (1+ n)))
    (unless (funcall so) (error "Waited in vain until %s" what))))
(defun the-text () (buffer-substring-no-properties (point-min) (point-max)))
(defun named (words) (cl-find-if (lambda (b) (string-match words (buffer-name b))) (buffer-list)))
"""

IN_EGLOT = """
(package-initialize)
(require 'cl-lib)
(require 'eglot)
(setq eglot-sync-connect t eglot-confirm-server-initiated-edits nil)
(load (expand-file-name "settings.el" (getenv "STORY")) nil t)
(find-file "cart.py") (python-mode)
(call-interactively #'eglot)
(goto-char (point-min)) (forward-line 1) (forward-char 4)
(cl-letf (((symbol-function 'completing-read)
           (lambda (_ choices &rest _)
             (let ((one (cl-find-if (lambda (c) (string-match "Simplify" (if (consp c) (car c) c))) choices)))
               (if (consp one) (car one) one)))))
  (setq last-nonmenu-event ?x)
  (eglot-code-actions (point) (point) nil t)
  (wait-until "the change is there" (lambda () (string-match "qty" (the-text)))))
(told 'text (the-text))
(with-current-buffer "cart.py"
  (undo-boundary) (setq last-command nil) (undo)
  (told 'undone (the-text)))
(glm-ask "What does it do?")
(wait-until "there is an answer" (lambda () (get-buffer "*GLM*")))
(told 'answer (with-current-buffer "*GLM*" (the-text)))
(set-buffer-modified-p nil)
(call-interactively #'eglot-shutdown)
"""

IN_LSP_MODE = """
(package-initialize)
(require 'cl-lib)
(require 'lsp-mode)
(setq lsp-auto-guess-root t lsp-restart 'ignore lsp-enable-file-watchers nil lsp-keep-workspace-alive nil)
(load (expand-file-name "settings.el" (getenv "STORY")) nil t)
(find-file "cart.py") (python-mode)
(lsp)
(wait-until "the server is there" (lambda () (and (lsp-workspaces) (lsp-feature? "textDocument/codeAction"))))
(goto-char (point-min)) (forward-line 1) (forward-char 4)
(lsp-execute-code-action
 (cl-find-if (lambda (a) (string-match "Simplify" (lsp:code-action-title a))) (lsp-code-actions-at-point)))
(wait-until "the change is there" (lambda () (string-match "qty" (the-text))))
(told 'text (the-text))
(undo-boundary) (setq last-command nil) (undo)
(told 'undone (the-text))
(glm-ask "What does it do?")
(let ((folder (expand-file-name "shown" (getenv "GLM_LSP_STATE_DIR"))))
  (wait-until "the answer is written"
              (lambda () (and (file-directory-p folder) (directory-files-recursively folder "\\\\.md$"))))
  (told 'answer "written"))
(set-buffer-modified-p nil)
"""


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def live(person: Person, settings: str, story: str) -> dict[str, str]:
    """Runs a story in an Emacs of nobody's; what it told, as Emacs writes strings."""
    engine = person.script(*WORKS, {"when": "What does it do?", "text": "It sums prices."})
    (person.tmp / "settings.el").write_text(settings)
    (person.tmp / "story.el").write_text(TOLD + story)
    environment = {
        **person.environment,
        "GLM_LSP_ENGINE_URL": engine,
        "HOME": str(person.tmp),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "STORY": str(person.tmp),
    }
    done = subprocess.run(
        ["emacs", "--batch", "--load", str(person.tmp / "story.el")],
        cwd=person.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"$', done.stdout, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(
    ("settings", "story"),
    [pytest.param(EGLOT, IN_EGLOT, id="eglot"), pytest.param(LSP_MODE, IN_LSP_MODE, id="lsp-mode")],
)
def test_a_code_action_an_undo_and_a_question(person: Person, settings: str, story: str) -> None:
    told = live(person, settings, story)
    assert told["text"] == BETTER
    assert told["undone"] == CART
    assert told["answer"].strip() in {"It sums prices.", "written"}
    assert person.read() == CART, "it is for the person to save it"
