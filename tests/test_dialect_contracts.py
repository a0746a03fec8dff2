"""Each kind of server as its documentation describes it: what our client sends it, and what it makes of the answers.

The servers here are not the real ones. A local server replays the wire format that each kind documents, from the file
of that name in `dialects/`, which says where it was taken from; what it proves is that we keep to the documentation.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_client import together
from wire_server import Answer, WireServer, refusal

from glm_lsp import errors
from glm_lsp.engine.client import HttpEngine
from glm_lsp.engine.dialects import DIALECTS, GENERIC, recognised
from glm_lsp.settings import EngineSettings
from glm_lsp.terms import Message, Prompt, Sampling, ToolCall, ToolSpec, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOLDER = Path(__file__).parent / "dialects"
CONTRACTS = {path.name.removesuffix(".json"): json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))}
ROOTS = [(name, root) for name, contract in CONTRACTS.items() for root in contract.get("roots", ["/v1"])]
KEY = "sk-not-a-real-one"
HTML = b"<!doctype html><title>Sign in</title>"

READ = ToolSpec("read", "Reads.", {"type": "object", "properties": {"path": {"type": "string"}}})
SAMPLING = Sampling(0.7, 1.0, 16384)
TALK = (
    Message("user", "Where is it?"),
    Message("assistant", thinking="\nFirst, b.\n", tool_calls=(ToolCall("call-0", "read", '{"path": "b.py"}'),)),
    Message("tool", "nothing", call_id="call-0"),
)


@pytest.fixture(params=CONTRACTS)
def contract(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = CONTRACTS[request.param]
    return found


def events(contract: dict[str, Any]) -> list[bytes]:
    """The documented stream, event by event; what is no JSON is sent as it is."""
    said = []
    for event in contract["stream"]:
        if isinstance(event, str) and event.startswith(":"):
            said.append(f"{event}\n\n".encode())
        else:
            said.append(b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n")
    return said


def server_for(contract: dict[str, Any], *answers: Any, root: str = "") -> WireServer:
    models = contract["models"]
    return WireServer(
        *(answers or [events(contract)]),
        models=refusal(404, {"error": "Not Found"}) if models is None else models,
        version=None,
        root=root or contract.get("roots", ["/v1"])[0],
        documents=contract.get("documents"),
    )


@contextlib.asynccontextmanager
async def talking(contract: dict[str, Any], server: WireServer, *, named: bool = True) -> AsyncIterator[HttpEngine]:
    """A client for that server, with a key where that kind of server wants one."""
    server.probe = Answer(events(contract))
    async with server.running():
        path = "" if server.root == "/v1" else server.root
        settings = EngineSettings(
            url=f"{server.url}{path}",
            model=contract.get("model", ""),
            dialect=contract["dialect"] if named else "",
            api_key_env="MY_KEY",
            retries=0,
        )
        environment = {"MY_KEY": KEY} if contract.get("key") else {}
        engine = HttpEngine(settings, environment=environment, backoff=0.01)
        try:
            yield engine
        finally:
            await engine.close()


def asked(*more: Message, thinking: bool = True, sampling: Sampling = SAMPLING) -> Prompt:
    return Prompt((*TALK, *more), (READ,), thinking=thinking, sampling=sampling)


def test_every_kind_of_server_has_a_contract() -> None:
    assert set(CONTRACTS) == set(DIALECTS) - {GENERIC.id}
    assert all(contract["source"] and contract["errors"] for contract in CONTRACTS.values())


def test_every_kind_of_server_has_its_row_in_the_documentation() -> None:
    text = (Path(__file__).parent.parent / "docs" / "servers.md").read_text(encoding="utf-8")
    for dialect in DIALECTS.values():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{dialect.id}` |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert all(f"`{host}`" in cells[1] for host in dialect.hosts)
        assert cells[2] == ("yes" if dialect.switches_thinking else "no")
        assert ("dropped" in cells[3]) == (dialect.keeps == "never")


@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "not thinking"])
@pytest.mark.parametrize(("name", "root"), ROOTS, ids=[f"{name}{root}" for name, root in ROOTS])
async def test_it_is_sent_exactly_what_it_documents(name: str, root: str, thinking: bool) -> None:
    contract = CONTRACTS[name]
    server = server_for(contract, root=root)
    async with talking(contract, server) as engine:
        async for _ in engine.stream(asked(thinking=thinking)):
            pass
    (body,) = server.requests
    tool = {"type": "function", "function": {"name": "read", "description": "Reads.", "parameters": READ.parameters}}
    always = {
        "model": engine.model,
        "stream": True,
        "temperature": 0.7,
        "top_p": 1.0,
        "tools": [tool],
    }
    assert {key: body[key] for key in always} == always
    rest = {key: value for key, value in body.items() if key not in {*always, "messages"}}
    rest.pop("return_token_ids", None)  # asked of vLLM until it is seen not to tell them
    assert rest == contract["sends"]["on" if thinking else "off"]
    assert body["messages"][1] == contract["assistant"]
    assert body["messages"][2] == {"role": "tool", "content": "nothing", "tool_call_id": "call-0"}


async def test_its_stream_is_understood(contract: dict[str, Any]) -> None:
    async with talking(contract, server_for(contract)) as engine:
        said = together([delta async for delta in engine.stream(asked())])
        yields = contract["yields"]
        read, written, cached, thought = yields["usage"]
        assert said == {
            "thinking": yields["thinking"],
            "text": yields["text"],
            "calls": [tuple(call) for call in yields["calls"]],
            "finish": [yields["finish"]],
            "usage": [Usage(read, written, cached=cached, thought=thought)],
        }
        assert (engine.profile.context_length, engine.exactness) == (contract["context"], contract["keeps"])
        assert engine.profile.tools
        assert engine.take_notes() == ()


async def test_it_gets_the_key_and_nothing_where_there_is_none(contract: dict[str, Any]) -> None:
    server = server_for(contract)
    async with talking(contract, server) as engine:
        async for _ in engine.stream(asked()):
            pass
    assert server.headers[0].get("Authorization") == (f"Bearer {KEY}" if contract.get("key") else None)


async def test_it_is_recognised_by_what_it_says_or_by_its_address(contract: dict[str, Any]) -> None:
    if contract["listed"]:
        async with talking(contract, server_for(contract), named=False) as engine:
            await engine.connect()
            assert engine.dialect.id == contract["dialect"]
    assert [getattr(recognised(host=host), "id", None) for host in contract.get("hosts", [])] == [
        contract["dialect"] for _ in contract.get("hosts", [])
    ]


ERRORS = [
    pytest.param(contract, error, id=f"{name} {error['status']} {error['words']}")
    for name, contract in CONTRACTS.items()
    for error in contract["errors"]
]


@pytest.mark.parametrize(("contract", "error"), ERRORS)
async def test_its_errors_say_what_to_do(contract: dict[str, Any], error: dict[str, Any]) -> None:
    body = error["body"].encode() if isinstance(error["body"], str) else error["body"]
    headers = {name.replace("-", "_"): value for name, value in error.get("headers", {}).items()}
    server = server_for(contract, refusal(error["status"], body, **headers))
    async with talking(contract, server) as engine:
        with pytest.raises(errors.EngineError) as caught:
            async for _ in engine.stream(asked()):
                pass
    assert type(caught.value).__name__ == error["kind"]
    assert error["words"] in caught.value.message
    assert caught.value.hint
    assert getattr(caught.value, "retry_after", None) == error.get("retry_after")
    assert getattr(caught.value, "over_by", None) == error.get("over_by")
    if error["status"] == 401:
        assert "MY_KEY" in caught.value.hint
        assert KEY not in f"{caught.value.message}{caught.value.hint}"


def test_every_contract_has_the_errors_that_matter() -> None:
    for name, contract in CONTRACTS.items():
        assert {400, 401, 404, 429, 500} <= {error["status"] for error in contract["errors"]}, name


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer((HTML,), 200, {"Content-Type": "text/html"}), errors.MalformedReply),
        (Answer((HTML,), 502, {"Content-Type": "text/html"}), errors.Unreachable),
    ],
    ids=["200", "502"],
)
async def test_a_page_instead_of_a_reply_is_said_to_be_one(
    contract: dict[str, Any], answer: Answer, kind: type[Exception]
) -> None:
    async with talking(contract, server_for(contract, answer)) as engine:
        with pytest.raises(kind):
            async for _ in engine.stream(asked()):
                pass


# --- what only some of them have ---------------------------------------------------------------------------------


async def test_openrouters_details_of_thinking_go_back_as_they_came() -> None:
    contract = CONTRACTS["openrouter"]
    server = server_for(contract)
    async with talking(contract, server) as engine:
        said = together([delta async for delta in engine.stream(asked())])
        again = Message("assistant", said["text"], thinking=said["thinking"])
        async for _ in engine.stream(asked(again, Message("user", "And now?"))):
            pass
    sent = server.requests[1]["messages"]
    assert sent[3]["reasoning_details"] == contract["details"]
    assert "reasoning" not in sent[3]
    assert sent[1]["reasoning"] == "\nFirst, b.\n", "what came before this client was made goes back as text"


async def test_blocks_of_details_are_kept_apart_and_none_is_lost() -> None:
    contract = CONTRACTS["openrouter"]
    pieces: list[list[dict[str, Any]]] = [
        [{"type": "reasoning.summary", "summary": "Su", "index": 0}],
        [
            {"type": "reasoning.summary", "summary": "m.", "index": 0},
            {"type": "reasoning.text", "text": "A", "index": 1},
        ],
        [{"type": "reasoning.text", "text": "B", "index": 1, "signature": None}],
        [{"type": "reasoning.encrypted", "data": "x", "index": 2}],
        [{"type": "reasoning.text", "text": "C"}],
        [{"type": "reasoning.text", "text": "D"}],
    ]
    said = [
        b"data: " + json.dumps({"choices": [{"delta": {"reasoning_details": p}}]}).encode() + b"\n\n" for p in pieces
    ]
    said += [b'data: {"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}]}\n\n', b"data: [DONE]\n\n"]
    server = server_for(contract, said)
    async with talking(contract, server) as engine:
        heard = together([delta async for delta in engine.stream(asked())])
        assert heard["thinking"] == "Sum.ABCD"
        async for _ in engine.stream(asked(Message("assistant", "Yes.", thinking="Sum.ABCD"), Message("user", "So?"))):
            pass
    assert server.requests[1]["messages"][3]["reasoning_details"] == [
        {"type": "reasoning.summary", "summary": "Sum.", "index": 0},
        {"type": "reasoning.text", "text": "AB", "index": 1},
        {"type": "reasoning.encrypted", "data": "x", "index": 2},
        {"type": "reasoning.text", "text": "C"},
        {"type": "reasoning.text", "text": "D"},
    ]


@pytest.mark.parametrize(
    ("name", "field", "most"),
    [
        ("cerebras", "max_completion_tokens", 40_000),
        ("novita", "max_tokens", 102_400),
        ("openrouter", "max_tokens", 65_535),
    ],
)
async def test_a_reply_is_never_asked_to_be_longer_than_the_server_writes(name: str, field: str, most: int) -> None:
    contract = CONTRACTS[name]
    server = server_for(contract)
    async with talking(contract, server) as engine:
        async for _ in engine.stream(asked(sampling=Sampling(1.0, 0.95, 131_072))):
            pass
    assert server.requests[0][field] == most


async def test_a_room_that_ollama_has_not_made_yet_is_made_by_a_token_first(tmp_path: Path) -> None:
    contract = CONTRACTS["ollama"]
    server = server_for(contract)
    async with talking(contract, server) as engine:
        engine._cache = tmp_path
        await engine.connect()
    order = [path for path in server.paths if path in ("/v1/chat/completions", "/api/ps")]
    assert order == ["/v1/chat/completions", "/api/ps"]
    async with server.running():
        engine = HttpEngine(EngineSettings(url=server.url, dialect="ollama"), cache=tmp_path, environment={})
        await engine.connect()
        await engine.close()
    assert len(server.probes) == 2, "what it can do is not taken from memory, for it may have been unloaded"


async def test_an_older_llama_cpp_tells_its_room_elsewhere() -> None:
    contract = dict(CONTRACTS["llama.cpp"])
    contract["models"] = {"data": [{"id": "glm-4.7", "owned_by": "llamacpp", "meta": {"n_ctx_train": 202752}}]}
    contract["documents"] = {"/props": {"default_generation_settings": {"n_ctx": 12288}, "total_slots": 1}}
    async with talking(contract, server_for(contract), named=False) as engine:
        await engine.connect()
        assert engine.profile.context_length == 12288


async def test_transformers_is_taken_at_its_word_when_its_list_fails() -> None:
    contract = dict(CONTRACTS["transformers"])
    contract["models"] = refusal(500, b"Internal Server Error")
    async with talking(contract, server_for(contract)) as engine:
        assert together([delta async for delta in engine.stream(asked())])["text"] == "It is there."


async def test_what_transformers_leaves_in_the_text_is_taken_out_of_it() -> None:
    contract = CONTRACTS["transformers"]
    raw = (
        "Let me look.</think>It is there.<tool_call>read<arg_key>path</arg_key><arg_value>a.py</arg_value></tool_call>"
    )
    pieces: list[dict[str, Any]] = [
        {"role": "assistant"},
        *({"content": raw[at : at + 7]} for at in range(0, len(raw), 7)),
    ]
    said = [{"choices": [{"delta": piece, "index": 0, "finish_reason": None}]} for piece in pieces]
    said.append({"choices": [{"delta": {}, "index": 0, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9}})
    stream = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in said]
    server = server_for(contract, stream)
    async with talking(contract, server) as engine:
        server.probe = Answer([*stream[:2], stream[-1]])
        heard = together([delta async for delta in engine.stream(asked())])
    ((_, name, arguments),) = heard["calls"]
    assert (heard["thinking"], heard["text"], heard["finish"]) == ("Let me look.", "It is there.", ["tool_calls"])
    assert (name, json.loads(arguments)) == ("read", {"path": "a.py"})
    assert "tools" in server.requests[0], "the server itself tells the model of them"


async def test_a_message_to_transformers_has_no_thinking_that_it_would_drop() -> None:
    contract = CONTRACTS["transformers"]
    server = server_for(contract)
    async with talking(contract, server) as engine:
        async for _ in engine.stream(asked()):
            pass
    assert not {"reasoning", "reasoning_content"} & set(server.requests[0]["messages"][1])
