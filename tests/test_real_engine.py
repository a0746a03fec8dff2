"""The real test engine itself: what is forced comes out of vLLM parsed, streamed and counted.

Never tests the product's client: it asks with a bare HTTP client, so that a failure here is the engine's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest
from engine import server
from engine.standing import gone, wait_for

from glm_lsp.engine.local import process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

EDIT = {
    "type": "function",
    "function": {
        "name": "edit_file",
        "description": "Replaces one piece of a file.",
        "parameters": {
            "type": "object",
            "properties": {
                "file_path": {"type": "string"},
                "start_line": {"type": "integer"},
                "old_string": {"type": "string"},
                "new_string": {"type": "string"},
            },
            "required": ["file_path", "old_string", "new_string"],
        },
    },
}


async def chat(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Streams one chat completion and returns its chunks."""
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=body) as reply:
        assert reply.status == 200, await reply.text()
        lines = [line.strip() async for line in reply.content if line.startswith(b"data: ")]
    assert lines.pop() == b"data: [DONE]"
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


def finish(chunks: list[dict[str, Any]]) -> str:
    return next(c["choices"][0]["finish_reason"] for c in chunks if c["choices"] and c["choices"][0]["finish_reason"])


def request(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "glm-4.7",
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 1000,
    } | more


async def test_forced_thinking_and_answer_arrive_apart_and_counted(glm_engine: server.ForcedEngine) -> None:
    glm_engine.say("The tax is money too.</think>Use Decimal for both.")

    chunks = await chat(glm_engine.url, request("What should I use?"))

    assert "".join(delta.get("reasoning") or "" for delta in deltas(chunks)) == "The tax is money too."
    assert "".join(delta.get("content") or "" for delta in deltas(chunks)) == "Use Decimal for both."
    assert len(deltas(chunks)) > 5, "it is streamed token by token"
    assert finish(chunks) == "stop"
    usage = chunks[-1]["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] > 0


async def test_a_forced_tool_call_is_streamed_argument_by_argument_and_typed(glm_engine: server.ForcedEngine) -> None:
    wanted = {
        "file_path": "src/cart.py",
        "start_line": 12,
        "old_string": "    x = 1\n",
        "new_string": '    x = "é\\n"\n',
    }
    glm_engine.say("I edit.</think>" + server.tool_call("edit_file", **wanted))

    chunks = await chat(glm_engine.url, request("Change x.", tools=[EDIT]))

    calls = [call for delta in deltas(chunks) for call in delta.get("tool_calls") or []]
    assert calls[0]["function"]["name"] == "edit_file"
    assert calls[0]["id"]
    fragments = [call["function"].get("arguments") or "" for call in calls]
    assert json.loads("".join(fragments)) == wanted
    assert sum(map(bool, fragments)) > 4, "arguments come in pieces"
    assert finish(chunks) == "tool_calls"


async def test_the_second_step_of_a_turn_reads_its_beginning_from_the_cache(glm_engine: server.ForcedEngine) -> None:
    glm_engine.say("I edit.</think>" + server.tool_call("edit_file", file_path="a", old_string="b", new_string="c"))
    glm_engine.say("It went well.</think>Done.")
    first = request("Change b. " * 40, tools=[EDIT])
    call = {"file_path": "a", "old_string": "b", "new_string": "c"}
    second = first | {
        "messages": [
            *first["messages"],
            {
                "role": "assistant",
                "content": "",
                "reasoning": "I edit.",
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "edit_file", "arguments": json.dumps(call)}}
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "Applied."},
        ]
    }

    before = (await chat(glm_engine.url, first))[-1]["usage"]
    after = (await chat(glm_engine.url, second))[-1]["usage"]

    # Everything of the first step, its reply too, but for the last sampled token, in whole blocks of 32.
    reusable = (before["prompt_tokens"] + before["completion_tokens"] - 1) // 32 * 32
    assert after["prompt_tokens_details"]["cached_tokens"] == reusable
    assert [body["messages"] for body in glm_engine.requests] == [first["messages"], second["messages"]]
    assert glm_engine.unsaid == ()


async def test_one_request_too_many_is_refused_and_not_answered_with_gibberish(glm_engine: server.ForcedEngine) -> None:
    url = f"{glm_engine.url}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=request("Hello?")) as reply:
        assert reply.status == 400
    assert glm_engine.refused == 1


CONVERSATION = [
    {"role": "system", "content": "Be brief.\n"},
    {"role": "user", "content": " one "},
    {"role": "assistant", "content": "\nfirst ", "reasoning": " early\n"},
    {"role": "user", "content": "two"},
    {
        "role": "assistant",
        "content": "",
        "reasoning": "\nlate ",
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"s": " é\\n", "n": [1, 2.0]}'}},
            {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": "A\n"},
    {"role": "tool", "tool_call_id": "2", "content": "B"},
]
CALLS = (
    "<tool_call>f<arg_key>s</arg_key><arg_value> é\n</arg_value><arg_key>n</arg_key><arg_value>[1, 2.0]</arg_value>"
    "</tool_call><tool_call>g</tool_call>"
)
RESULTS = "<|observation|><tool_response>A\n</tool_response><tool_response>B</tool_response>"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(
            {},
            "[gMASK]<sop><|system|>Be brief.\n<|user|> one <|assistant|></think>first<|user|>two"
            f"<|assistant|><think>late</think>{CALLS}{RESULTS}<|assistant|><think>",
            id="earlier thinking is left out",
        ),
        pytest.param(
            {"clear_thinking": False, "enable_thinking": False},
            "[gMASK]<sop><|system|>Be brief.\n<|user|> one <|assistant|><think>early</think>first<|user|>two"
            f"<|assistant|><think>late</think>{CALLS}{RESULTS}<|assistant|></think>",
            id="preserved thinking, and none for the next reply",
        ),
    ],
)
async def test_prompts_have_the_form_of_glm(
    glm_engine: server.ForcedEngine, options: dict[str, bool], expected: str
) -> None:
    body = {"model": "glm-4.7", "messages": CONVERSATION, "chat_template_kwargs": options}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{glm_engine.url}/tokenize", json=body) as reply:
            assert reply.status == 200, await reply.text()
            tokens = (await reply.json())["tokens"]
        async with session.post(f"{glm_engine.url}/detokenize", json={"model": "glm-4.7", "tokens": tokens}) as reply:
            assert (await reply.json())["prompt"] == expected


async def test_the_tool_list_has_the_form_of_glm(glm_engine: server.ForcedEngine) -> None:
    body = {"model": "glm-4.7", "messages": [{"role": "user", "content": "hi"}], "tools": [EDIT]}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{glm_engine.url}/tokenize", json=body) as reply:
            tokens = (await reply.json())["tokens"]
        async with session.post(f"{glm_engine.url}/detokenize", json={"model": "glm-4.7", "tokens": tokens}) as reply:
            text = (await reply.json())["prompt"]
    head, _, rest = text.partition("<tools>\n")
    listed, _, tail = rest.partition("\n</tools>")
    assert head.startswith("[gMASK]<sop><|system|>\n# Tools\n\nYou may call one or more functions")
    assert json.loads(listed) == EDIT
    assert tail.endswith("<arg_value>{arg-value-2}</arg_value>...</tool_call><|user|>hi<|assistant|><think>")


async def test_the_product_sees_the_engine_that_its_launcher_started(glm_engine: server.ForcedEngine) -> None:
    run = Path(glm_engine.running.log).parent
    found = process.status(run=run)
    assert found.state == "running"
    assert found.model == "glm-4.7"
    assert found.memory_bytes > 100_000_000
    assert process.launch_detached(server.forced_launch(server.engine_python()), run=run).pid == glm_engine.running.pid


@pytest.fixture
def whole_command(tmp_path: Path) -> Iterator[process.Running]:
    try:
        policy = process.Policy(hang=30, probe_every=4, pause=600, grace=5)
        yield server.start(server.whole_command_launch(server.engine_python()), tmp_path, policy)
    finally:
        process.stop(run=tmp_path, now=True)


@pytest.mark.timeout(900)  # it has an engine to start, and to wait for
async def test_the_whole_command_line_serves_with_two_workers_and_drafts_tokens(whole_command: process.Running) -> None:
    connector = aiohttp.UnixConnector(whole_command.url.removeprefix("unix:"))
    async with aiohttp.ClientSession(connector=connector) as session:
        body = request("Say something.", model="glm-4.7-fp8", max_tokens=24, stream=False, ignore_eos=True)
        del body["stream_options"]
        async with session.post("http://engine/v1/chat/completions", json=body) as reply:
            assert reply.status == 200, await reply.text()
            assert (await reply.json())["usage"]["completion_tokens"] == 24
        async with session.get("http://engine/metrics") as reply:
            metrics = await reply.text()
    drafted = [line for line in metrics.splitlines() if line.startswith("vllm:spec_decode_num_draft_tokens_total")]
    assert drafted
    assert float(drafted[0].split()[-1]) > 0

    # One of the workers stops and does not die: vLLM says that it is well, and no token comes.
    run = Path(whole_command.log).parent
    api = psutil.Process(whole_command.pid)
    worker = next(one for one in api.children(recursive=True) if one.name().startswith("VLLM::Worker"))
    worker.suspend()
    found = wait_for(lambda: (now := process.status(run=run)).state == "restarting" and now, 180)
    assert found.detail.startswith("1 of 5: ")
    assert "for " in found.detail or "token in " in found.detail, found.detail
    assert gone(worker.pid), "one that is stopped is ended too"
    assert gone(whole_command.pid)
