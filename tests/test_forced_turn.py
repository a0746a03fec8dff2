"""The main job on the real test engine: vLLM's own parsers, cache and aborts between the command and the model."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from engine.server import tool_call
from test_refactor import CART, Person

if TYPE_CHECKING:
    from pathlib import Path

    from engine.server import ForcedEngine

pytestmark = pytest.mark.engine

OLD = "    return sum(i.price for i in items)"
BROKEN = "    return sum(i.price * i.qty for i in items"
MENDED = "    return sum(i.price * i.qty for i in items)"


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def test_thinking_a_tool_call_a_repair_and_an_apply(person: Person, glm_engine: ForcedEngine) -> None:
    glm_engine.say(
        "The file first.</think>" + tool_call("read_file", file_path="cart.py", start_line=1),
        "Quantities are missing.\nSo I add them.</think>I edit now."
        + tool_call("edit_file", file_path="cart.py", start_line=2, old_string=OLD, new_string=BROKEN),
        "That should do.</think>The total counts quantities.",
        "A bracket is missing.</think>"
        + tool_call("edit_file", file_path="cart.py", old_string=BROKEN, new_string=MENDED),
        "Now it is whole.</think>The total counts quantities, and parses.",
    )
    done = person.run(
        "count quantities",
        "--apply",
        "--output",
        "ndjson",
        "--verify",
        "python3 -m py_compile cart.py",
        engine=glm_engine.url,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert person.read() == CART.replace(OLD, MENDED)
    assert glm_engine.unsaid == ()

    def of(kind: str) -> list[dict[str, Any]]:
        return [event for event in events if event["event"] == kind]

    thoughts = "".join(event["text"] for event in of("thinking-added"))
    assert "Quantities are missing.\nSo I add them." in thoughts
    assert [event["tool"] for event in of("tool-called")] == ["read_file", "edit_file", "edit_file"]
    assert [event["code"] for event in of("warned")] == ["sent-back"]
    opened = next(i for i, e in enumerate(events) if e["event"] == "hunk-opened")
    called = [i for i, e in enumerate(events) if e["event"] == "tool-called"][1]
    assert opened < called, "the hunk grows while vLLM still streams the call"
    assert of("thinking-ended")[0]["tokens"] > 3, "told while the reply still comes"
    assert of("ended")[0]["usage"]["cached"] > 0
    assert of("ended")[0]["usage"]["thought"] > 0

    # Every earlier thought goes back with the message it belongs to, so that the engine's cache holds.
    sent = [m for m in glm_engine.requests[-1]["messages"] if m["role"] == "assistant"]
    assert next(m["reasoning"] for m in sent) == "The file first."
    assert all(m["reasoning"] for m in sent)
    assert glm_engine.requests[-1]["chat_template_kwargs"] == {"enable_thinking": True, "clear_thinking": False}


def test_a_tag_in_the_middle_of_code_is_an_argument_like_any_other(person: Person, glm_engine: ForcedEngine) -> None:
    glm_engine.say(
        "</think>"
        + tool_call("write_file", file_path="notes/new.txt", content="naïve – “quoted” 𝄞\n\tif a < b && c > d:\n"),
        "</think>Written.",
    )
    done = person.run("write notes", "cart.py", "--apply", engine=glm_engine.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert person.read("notes/new.txt") == "naïve – “quoted” 𝄞\n\tif a < b && c > d:\n"


def test_thinking_off_is_off_in_the_engine_too(person: Person, glm_engine: ForcedEngine) -> None:
    glm_engine.say("It is right as it is.")
    done = person.run("look", "cart.py", "--thinking", "off", "--output", "json", engine=glm_engine.url)
    report = json.loads(done.stdout)
    assert report["turns"][0]["text"] == "It is right as it is."
    assert glm_engine.requests[-1]["chat_template_kwargs"]["enable_thinking"] is False


def test_a_reply_that_runs_out_of_tokens_is_no_answer(person: Person, glm_engine: ForcedEngine) -> None:
    cut = "</think>" + tool_call("edit_file", file_path="cart.py", old_string=OLD, new_string="    return 0\n" * 200)
    glm_engine.say(cut, "</think>I stop here.")
    environment = {"GLM_LSP_ENGINE_EXTRA_BODY": json.dumps({"max_tokens": 120})}
    person.environment.update(environment)
    done = person.run("shorten", "cart.py", "--apply", engine=glm_engine.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cut off" in done.stdout
    assert person.read() == CART


def test_ctrl_c_frees_the_engine(person: Person, glm_engine: ForcedEngine) -> None:
    glm_engine.say("word " * 4000 + "</think>Done.")
    process = subprocess.Popen(
        person.command("think long", "cart.py", "--output", "ndjson", engine=glm_engine.url),
        cwd=person.root,
        env=person.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["event"] != "thinking-added":
        pass
    assert running(glm_engine) == 1
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    deadline = time.monotonic() + 10
    while running(glm_engine) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(glm_engine) == 0


def running(engine: ForcedEngine) -> int:
    with urllib.request.urlopen(f"{engine.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("vllm:num_requests_running"))


def test_a_session_killed_in_the_middle_goes_on_elsewhere_with_every_thought_and_a_warm_cache(
    person: Person, glm_engine: ForcedEngine
) -> None:
    def look(line: int) -> str:
        return tool_call("read_file", file_path="cart.py", start_line=line)

    arguments = ("cart.py", "--session", "work", "--output", "ndjson")
    glm_engine.say("\nFirst thought.\n</think>\n\n" + look(1), "Second thought.</think>The first task is done.\n")
    assert person.run("task one", *arguments, engine=glm_engine.url).returncode == 0

    glm_engine.say("Third thought.</think>" + look(2), "word " * 4000 + "</think>Never said.")
    process = subprocess.Popen(
        person.command("task two", *arguments, engine=glm_engine.url),
        cwd=person.root,
        env=person.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["event"] != "tool-returned":
            pass
        while json.loads(process.stdout.readline())["event"] != "thinking-added":
            pass
        process.kill()

    glm_engine.say("Fourth thought.</think>Two and three are done.")
    done = person.run("task three", *arguments, engine=glm_engine.url)
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = (request["kv_transfer_params"]["prompt_token_ids"] for request in glm_engine.requests[-2:])
    assert after[: len(before)] != before, "the killed request left no words behind"
    shared = next(n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b)
    ended = json.loads(done.stdout.splitlines()[-1])
    assert ended["usage"]["cached"] >= (shared - 1) // 32 * 32, "every whole block of what both read"
    text = person.glm("sessions", "show", "work").stdout
    places = [text.index(words) for words in ("First thought.", "Second thought.", "Third thought.", "Fourth thought.")]
    assert places == sorted(places)
    assert [m["reasoning"].strip() for m in glm_engine.requests[-1]["messages"] if m["role"] == "assistant"] == [
        "First thought.",
        "Second thought.",
        "Third thought.",
    ]
