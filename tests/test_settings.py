"""Settings: sources, order, and what is said about what does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from glm_lsp import settings
from glm_lsp.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "glm-lsp").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    return tmp_path


def user(home: Path, text: str) -> None:
    (home / "config" / "glm-lsp" / "settings.toml").write_text(text)


def test_later_sources_win(home: Path) -> None:
    user(home, '[engine]\nurl = "http://a"\nmodel = "m"\nretries = 5\n[turn]\nmax_steps = 7\n')
    (home / "work" / ".glm-lsp.toml").write_text("[turn]\nmax_steps = 8\nrepairs = 1\n")
    loaded = settings.load(
        home / "work",
        environment={"GLM_LSP_ENGINE_URL": "http://b", "GLM_LSP_TURN_REPAIRS": "2"},
        overrides={"engine.model": "n"},
    )
    assert (loaded.engine.url, loaded.engine.model, loaded.engine.retries) == ("http://b", "n", 5)
    assert (loaded.turn.max_steps, loaded.turn.repairs) == (8, 2)


def test_defaults_need_no_files(home: Path) -> None:
    assert settings.load(home / "work", environment={}) == settings.Settings()


def test_extra_body_is_taken_as_it_is(home: Path) -> None:
    loaded = settings.load(environment={"GLM_LSP_ENGINE_EXTRA_BODY": '{"vllm_xargs": {"a": [1]}}'})
    assert loaded.engine.extra_body == {"vllm_xargs": {"a": [1]}}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[engin]\n", "engine"),
        ("[turn]\nmax_step = 3\n", "max_steps"),
        ("[turn]\nmax_steps = 'many'\n", "turn.max_steps"),
        ("[turn]\nmax_steps = -1\n", "negative"),
        ("[turn]\nmax_steps = true\n", "turn.max_steps"),
        ("turn = 3\n", "section"),
        ("[turn\n", "settings.toml"),
    ],
)
def test_what_does_not_fit_is_named(home: Path, text: str, named: str) -> None:
    user(home, text)
    with pytest.raises(SettingsError) as caught:
        settings.load(home / "work", environment={})
    assert named in caught.value.message + caught.value.hint


def test_a_variable_that_is_no_json_says_what_would_be(home: Path) -> None:
    with pytest.raises(SettingsError, match="GLM_LSP_TURN_MAX_STEPS"):
        settings.load(environment={"GLM_LSP_TURN_MAX_STEPS": "many"})


@pytest.mark.parametrize(
    "line", ['[engine]\nurl = "http://evil"', "[engine]\nextra_body = {a = 1}", "[edits]\nallow_ignored = true"]
)
def test_a_workspace_cannot_set_what_a_stranger_must_not(home: Path, line: str) -> None:
    (home / "work" / ".glm-lsp.toml").write_text(line)
    with pytest.raises(SettingsError, match="may not be set by a workspace"):
        settings.load(home / "work", environment={})


def test_every_option_has_a_sentence_and_a_default() -> None:
    for name, kind, default, doc in settings.as_table():
        assert doc.endswith("."), name
        assert kind
        assert default
