"""A compose file for vLLM's own container image, from a plan: the same command, in a container.

Never starts a container. The file's text is YAML whose words are written as JSON strings, which YAML takes as they are.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from glm_lsp.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glm_lsp.engine.local.plan import Command, Plan

IMAGES = {"cuda": "vllm/vllm-openai:v0.32.0", "rocm": "vllm/vllm-openai-rocm:v0.32.0"}
RUN = "/run/glm-lsp"
MODELS = "/models"


def compose_file(made: Plan, *, user: str = "") -> str:
    """One service for each engine of the plan.

    Args:
        made: the plan.
        user: `uid:gid` under which vLLM runs, so that its socket is that person's; default: who asks.

    Raises:
        UsageError: a plan for several hosts.
    """
    if {command.host for command in made.commands} != {0}:
        raise UsageError(
            "A compose file is for one host.", hint="For several, `glm-lsp engine plan` prints each one's command."
        )
    user = user or f"{os.getuid()}:{os.getgid()}"
    return "\n".join(
        (*_head(made), *(line for one in enumerate(made.commands) for line in _service(made, *one, user)), "")
    )


def _head(made: Plan) -> Iterator[str]:
    yield f"# {made.model.name} on {made.hardware}, from `glm-lsp engine plan --compose`."
    yield "# Start it:   docker compose up -d"
    yield "# Use it:     GLM_LSP_ENGINE_URL=unix:$XDG_RUNTIME_DIR/glm-lsp/vllm.sock glm-lsp doctor"
    yield "# The container keeps it running, so `glm-lsp engine stop` and the supervisor have no part in it."
    yield "services:"


def _service(made: Plan, number: int, command: Command, user: str) -> Iterator[str]:
    several = len(made.commands) > 1
    socket = Path(_value(command.argv, "--uds")).name
    local = Path(made.model.source).is_absolute()
    words = [MODELS if word == made.model.source and local else word for word in command.argv[2:]]
    words = [f"{RUN}/{socket}" if word == _value(command.argv, "--uds") else word for word in words]
    devices = _value(command.argv, "--device-ids")
    if devices:  # a container that is given some GPUs numbers them from 0
        place = words.index("--device-ids")
        del words[place : place + 2]
    yield f"  vllm{f'-{number}' if several else ''}:"
    yield f"    image: {_text(IMAGES[made.platform])}"
    yield f"    user: {_text(user)}"
    yield '    entrypoint: ["vllm", "serve"]'
    yield "    command:"
    for word in words:
        yield f"      - {_text(word.replace('$', '$$'))}"
    yield "    environment:"
    home = {"HOME": "/cache", "HF_HOME": "/cache/huggingface", "VLLM_CACHE_ROOT": "/cache/vllm"}
    for name, value in {**home, "VLLM_NO_USAGE_STATS": "1", **command.environment}.items():
        yield f"      {name}: {_text(value)}"
    yield "    volumes:"
    yield f"      - {_text('${XDG_RUNTIME_DIR}/glm-lsp:' + RUN)}"
    yield f"      - {_text('${HOME}/.cache/glm-lsp-engine:/cache')}"
    if local:
        yield f"      - {_text(f'{made.model.source}:{MODELS}:ro')}"
    yield "    ipc: host  # the workers of one engine share memory"
    yield '    network_mode: "bridge"  # for the weights; nothing listens on it'
    yield from _gpus(made, devices)
    yield "    healthcheck:"
    yield f'      test: ["CMD", "python3", "-c", {_text(_HEALTH.format(socket=f"{RUN}/{socket}"))}]'
    yield "      interval: 30s"
    yield "      start_period: 60m  # weights are downloaded once, and loaded at each start"
    yield "    restart: unless-stopped"
    yield "    stop_grace_period: 1m"


def _gpus(made: Plan, devices: str) -> Iterator[str]:
    if made.platform == "rocm":
        yield '    devices: ["/dev/kfd", "/dev/dri"]'
        yield '    group_add: ["video", "render"]'
        if devices:
            yield "    # All GPUs are seen in there; this engine takes its own."
        return
    yield "    deploy:"
    yield "      resources:"
    yield "        reservations:"
    yield "          devices:"
    yield "            - driver: nvidia"
    yield f"              device_ids: {json.dumps((devices or ','.join(map(str, range(made.gpus)))).split(','))}"
    yield "              capabilities: [gpu]"


_HEALTH = (
    "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect('{socket}'); "
    "s.sendall(b'GET /health HTTP/1.0\\r\\n\\r\\n'); assert b' 200 ' in s.recv(64)"
)


def _value(words: tuple[str, ...], flag: str) -> str:
    return words[words.index(flag) + 1] if flag in words else ""


def _text(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)
