"""The watcher, on real files: everything that matters is told, soon, and nothing else."""

from __future__ import annotations

import contextlib
import errno
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest
from indexes import commit, git, repository

from glm_lsp.index import notices, watch
from glm_lsp.index.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from glm_lsp.index.notices import Hear, Notices


class Heard:
    """What a watcher told, and when."""

    def __init__(self) -> None:
        self.told: list[frozenset[str] | None] = []
        self.news = threading.Condition()

    def __call__(self, paths: frozenset[str] | None) -> None:
        with self.news:
            self.told.append(paths)
            self.news.notify_all()

    @property
    def paths(self) -> set[str]:
        return {path for some in self.told if some is not None for path in some}

    @property
    def everything(self) -> bool:
        return None in self.told

    def wait(self, so: Callable[[], object], seconds: float = 20.0) -> None:
        with self.news:
            assert self.news.wait_for(so, seconds), self.told

    def settle(self) -> None:
        """Waits until nothing more is told, and forgets what was."""
        with self.news:
            while self.news.wait(1.0):
                pass
            self.told.clear()


class Refusing:
    """What the system tells of some folders, with no room for more than `most` of them."""

    def __init__(self, inner: Notices, most: int) -> None:
        self.inner, self.most = inner, most
        self.forget, self.close = inner.forget, inner.close

    @property
    def count(self) -> int:
        return self.inner.count

    def watch(self, folder: str) -> None:
        if self.count >= self.most:
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        self.inner.watch(folder)


@contextlib.contextmanager
def watched(root: Path, **options: object) -> Iterator[tuple[Watcher, Heard]]:
    heard = Heard()
    watcher = Watcher(root, heard, **options)  # type: ignore[arg-type]  # each test gives its own
    watcher.start()
    try:
        assert watcher.wait(20)
        yield watcher, heard
    finally:
        watcher.close()


def write(root: Path, *paths: str, text: str = "a = 1\n") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


@pytest.fixture(params=[pytest.param(True, id="in git"), pytest.param(False, id="outside git")])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    root = (tmp_path / "work").resolve()
    write(root, "src/cart.py", "src/deep/far.py", "web/src/app.ts", "node_modules/left/pad.js", "build/out/made.js")
    write(root, ".gitignore", text="build/\n*.log\n")
    if request.param:
        commit(repository(root))
    return root


def test_what_is_saved_made_moved_and_deleted_is_told(root: Path) -> None:
    with watched(root) as (_, heard):
        write(root, "src/cart.py", text="a = 2\n")
        write(root, "src/deep/new.py")
        (root / "web/src/app.ts").rename(root / "web/src/main.ts")
        heard.wait(lambda: heard.paths >= {"src/cart.py", "src/deep/new.py", "web/src/app.ts", "web/src/main.ts"})
        (root / "src/cart.py").unlink()
        heard.wait(lambda: sum("src/cart.py" in (some or ()) for some in heard.told) > 1)


def test_a_file_that_is_replaced_as_editors_do_it_is_told(root: Path) -> None:
    with watched(root) as (_, heard):
        write(root, "src/cart.py~", text="a = 3\n")
        (root / "src/cart.py~").replace(root / "src/cart.py")
        heard.wait(lambda: "src/cart.py" in heard.paths)


def test_what_the_rules_leave_out_is_neither_watched_nor_told(root: Path) -> None:
    with watched(root) as (watcher, heard):
        assert watcher.folders == len({"", "src", "src/deep", "web", "web/src"}) + (root / ".git").exists()
        write(root, "node_modules/left/pad.js", "build/out/made.js", "build/new/more.js", "src/noise.log")
        write(root, "src/cart.py", text="a = 2\n")
        heard.wait(lambda: "src/cart.py" in heard.paths)
        assert heard.told == [{"src/cart.py"}]


def test_twenty_thousand_files_that_somebody_reads_are_not_told(root: Path) -> None:
    for number in range(20_000):
        write(root, f"many/{number % 20}/f{number}.py")
    with watched(root) as (watcher, heard):
        for path in (root / "many").rglob("*.py"):
            path.read_bytes()
        write(root, "src/cart.py", text="a = 2\n")
        heard.wait(lambda: "src/cart.py" in heard.paths)
        assert heard.told == [{"src/cart.py"}]
        assert not watcher.note


def test_five_thousand_new_files_are_all_told(root: Path) -> None:
    with watched(root) as (watcher, heard):
        whole = {f"src/new{number % 50}/f{number}.py" for number in range(5_000)}
        write(root, *whole)
        new = {path: path.rpartition("/")[0] for path in whole}
        heard.wait(lambda: heard.everything or all({path, new[path]} & heard.paths for path in whole))
        # And so is what happens in each of the new folders from then on.
        heard.settle()
        for number in range(50):
            write(root, f"src/new{number}/f{number}.py", text="b = 2\n")
        heard.wait(lambda: heard.paths >= {f"src/new{number}/f{number}.py" for number in range(50)})
        assert not watcher.note


def test_folders_that_are_made_moved_and_deleted_are_followed(root: Path) -> None:
    with watched(root) as (watcher, heard):
        before = watcher.folders
        write(root, "lib/a/b/one.py")
        heard.wait(lambda: "lib" in heard.paths)
        write(root, "lib/a/b/one.py", text="b = 1\n")
        heard.wait(lambda: "lib/a/b/one.py" in heard.paths)
        (root / "lib/a").rename(root / "moved")
        heard.wait(lambda: {"lib/a", "moved"} <= heard.paths)
        write(root, "moved/b/one.py", text="c = 1\n")
        heard.wait(lambda: "moved/b/one.py" in heard.paths)
        shutil.rmtree(root / "moved")
        shutil.rmtree(root / "lib")
        heard.wait(lambda: watcher.folders == before)
        write(root, "src/cart.py", text="a = 2\n")
        heard.wait(lambda: "src/cart.py" in heard.paths)


def test_what_changed_while_it_began_is_told(root: Path) -> None:
    heard = Heard()
    watcher = Watcher(root, heard)
    write(root, "src/cart.py", text="a = 2\n")  # within the clock's tick of the start
    watcher.start()
    write(root, "src/deep/far.py", text="a = 2\n")
    heard.wait(lambda: heard.everything or "src/deep/far.py" in heard.paths)
    watcher.close()


def test_changed_rules_mean_that_anything_may_have_changed_and_are_heeded(root: Path) -> None:
    with watched(root) as (_, heard):
        write(root, ".gitignore", text="*.log\n")
        heard.wait(lambda: heard.everything)
        write(root, "build/out/made.js", text="b\n")
        heard.wait(lambda: "build/out/made.js" in heard.paths)


def test_another_branch_means_that_anything_may_have_changed(tmp_path: Path) -> None:
    root = repository((tmp_path / "work").resolve())
    write(root, "src/cart.py")
    commit(root)
    git(root, "checkout", "-q", "-b", "other")
    write(root, "src/cart.py", "src/other.py", text="b = 1\n")
    commit(root)
    with watched(root) as (_, heard):
        git(root, "checkout", "-q", "main")
        heard.wait(lambda: heard.everything)
        heard.told.clear()
        git(root, "branch", "third")  # touches neither HEAD nor the index
        write(root, "src/cart.py", text="c = 1\n")
        heard.wait(lambda: "src/cart.py" in heard.paths)
        assert not heard.everything


def test_a_work_tree_beside_its_repository_is_told_of_its_own_branch(tmp_path: Path) -> None:
    root = repository((tmp_path / "work").resolve())
    write(root, "cart.py")
    commit(root)
    git(root, "branch", "third")
    git(root, "worktree", "add", "-q", "-b", "other", str(tmp_path / "beside"))
    with watched((tmp_path / "beside").resolve()) as (_, heard):
        git(tmp_path / "beside", "checkout", "-q", "third")
        heard.wait(lambda: heard.everything)


def test_a_repository_inside_has_rules_of_its_own(tmp_path: Path) -> None:
    root = repository((tmp_path / "work").resolve())
    inner = repository(root / "inner")
    write(inner, ".gitignore", text="*.out\n")
    write(inner, "lib/one.py", "lib/one.out")
    with watched(root) as (_, heard):
        write(inner, "lib/one.out", "lib/one.py", text="b = 1\n")
        heard.wait(lambda: "inner/lib/one.py" in heard.paths)
        assert heard.told == [{"inner/lib/one.py"}]


@pytest.mark.parametrize("most", [pytest.param(0, id="no folder"), pytest.param(3, id="some folders")])
@pytest.mark.parametrize("by", ["the system", "us"])
def test_past_the_limit_everything_is_compared_again_and_again(
    root: Path, most: int, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RESCAN_SECONDS", 0.05)
    options: dict[str, object] = {"most": most}
    if by == "the system":
        options = {"listen": lambda top, hear: Refusing(notices.listen(top, hear), most)}
    with watched(root, **options) as (watcher, heard):
        heard.wait(lambda: heard.everything)
        assert watcher.rescans
        assert "max_user_watches" in watcher.note
        heard.told.clear()
        write(root, "web/src/app.ts", "web/src/new.ts", text="b = 2\n")
        (root / "src/deep/far.py").unlink()
        heard.wait(lambda: heard.paths >= {"web/src/app.ts", "web/src/new.ts", "src/deep/far.py"} or heard.everything)
        heard.told.clear()
        write(root, "src/cart.py", text="a = 4\n")
        heard.wait(lambda: "src/cart.py" in heard.paths)


def test_where_the_system_tells_nothing_at_all_everything_is_compared(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_root: str, _hear: Hear) -> Notices:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(watch, "RESCAN_SECONDS", 0.05)
    with watched(root, listen=refuses) as (watcher, heard):
        heard.wait(lambda: heard.everything)
        assert "instance limit" in watcher.note
        heard.wait(lambda: watcher._before is not None)
        write(root, "src/cart.py", text="a = 5\n")
        heard.wait(lambda: "src/cart.py" in heard.paths or heard.told.count(None) > 1)


def test_lost_news_means_that_anything_may_have_changed_and_all_is_watched_anew(root: Path) -> None:
    hears: list[Hear] = []

    def listen(top: str, hear: Hear) -> Notices:
        hears.append(hear)
        return notices.listen(top, hear)

    with watched(root, listen=listen) as (watcher, heard):
        hears[-1](None, False)  # as the system says it when its queue is full
        heard.wait(lambda: heard.everything and len(hears) == 2)
        assert watcher.wait(20)
        write(root, "src/deep/far.py", text="b = 1\n")
        heard.wait(lambda: "src/deep/far.py" in heard.paths)


def test_a_workspace_that_goes_and_comes_back_is_watched_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RESCAN_SECONDS", 0.05)
    with watched(root) as (watcher, heard):
        root.rename(root.parent / "away")
        heard.wait(lambda: heard.everything and watcher.rescans)
        (root.parent / "away").rename(root)
        heard.wait(lambda: not watcher.rescans and watcher.folders > 3)
        heard.told.clear()
        write(root, "src/deep/far.py", text="b = 1\n")
        heard.wait(lambda: "src/deep/far.py" in heard.paths)


def test_folders_that_vanish_or_cannot_be_read_end_nothing(root: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            write(root, "src/now/then/x.py")
            shutil.rmtree(root / "src/now", ignore_errors=True)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        with watched(root) as (watcher, heard):
            time.sleep(0.5)
            stop.set()
            thread.join()
            write(root, "src/cart.py", text="a = 2\n")
            heard.wait(lambda: "src/cart.py" in heard.paths)
            assert not watcher.note
    finally:
        stop.set()
        thread.join()


def test_nothing_is_told_after_the_end_and_no_thread_is_left(root: Path) -> None:
    before = set(threading.enumerate())
    with watched(root) as (_, heard):
        pass
    write(root, "src/cart.py", text="a = 3\n")
    time.sleep(0.2)
    assert heard.told == []
    assert set(threading.enumerate()) <= before
