"""Fixtures that tests share: the real test engine, started once a session.

Never starts it for a run that does not ask for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from engine import server

from glm_lsp.engine.local import process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def _context() -> int:
    """Tokens that the test engine reads."""
    return server.CONTEXT


@pytest.fixture(scope="session")
def _forced_engine(tmp_path_factory: pytest.TempPathFactory, _context: int) -> Iterator[server.ForcedEngine]:
    # With GLM_LSP_KEEP_TEST_ENGINE set it goes on after the run, and the next run finds it: for work on one test.
    keep = bool(os.environ.get("GLM_LSP_KEEP_TEST_ENGINE"))
    run = server.CACHE / "kept" if keep else tmp_path_factory.mktemp("engine")
    try:
        engine = server.ForcedEngine(server.start(server.forced_launch(server.engine_python(), _context), run))
        yield engine
        engine.close()
    finally:
        if not keep:
            process.stop(run=run)


@pytest.fixture
def glm_engine(_forced_engine: server.ForcedEngine) -> server.ForcedEngine:
    """The real engine with nothing queued and nothing recorded."""
    _forced_engine.reset()
    return _forced_engine
