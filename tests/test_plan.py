"""The engine's plan: golden machines, properties over many, what is refused and why, and vLLM's own parser's opinion.

`python tests/test_plan.py` writes the golden files anew; look at the difference before you keep it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_lsp import cli
from glm_lsp.cli.engine_plan import lines
from glm_lsp.engine.local import hardware, models, plan
from glm_lsp.engine.local.hardware import GIB, Gpu, Hardware
from glm_lsp.engine.local.serving import Layout, Wishes
from glm_lsp.errors import UsageError

PLANS = Path(__file__).parent / "plans"
GOLDEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "4xH200": ("4xH200", "", {}),
    "8xH200": ("8xH200", "", {}),
    "8xH200-two-engines": ("8xH200", "", {"replicas": 2, "kv_offload": 400}),
    "8xH200-bf16": ("8xH200", "glm-4.7", {}),
    "8xH100": ("8xH100", "", {}),
    "8xH100-kv-fp8": ("8xH100-80", "", {"kv_fp8": True}),
    "4xB200": ("4xB200", "", {}),
    "8xA100-80": ("8xA100-80", "", {}),
    "1xH200": ("1xH200", "", {}),
    "1xH100": ("1xH100", "", {}),
    "2x8xH100": ("2x8xH100", "", {}),
    "2x8xH100-bf16": ("2x8xH100", "glm-4.7", {}),
    "8xMI300X": ("8xMI300X", "", {}),
    "mixed": ("2xL40S+4xH200", "", {}),
    "1xH200-fp8": ("1xH200", "glm-4.7-fp8", {}),
    "2xL40S": ("2xL40S", "", {}),
    "none": ("none", "", {}),
}
CARD = [
    "vllm",
    "serve",
    "zai-org/GLM-4.7-FP8",
    "--tensor-parallel-size",
    "4",
    "--speculative-config.method",
    "mtp",
    "--speculative-config.num_speculative_tokens",
    "1",
    "--tool-call-parser",
    "glm47",
    "--reasoning-parser",
    "glm45",
    "--enable-auto-tool-choice",
    "--served-model-name",
    "glm-4.7-fp8",
]
"""The command on GLM-4.7's model card."""

KINDS = sorted({(row[0], row[1]) for row in hardware._TABLE})


def made(gpus: str, model: str = "", **wishes: Any) -> plan.Plan:
    return plan.make(hardware.parse(gpus), models.find(model) if model else None, Wishes(**wishes))


def shown(gpus: str, model: str, wishes: dict[str, Any]) -> str:
    try:
        return "\n".join(lines(made(gpus, model, **wishes), 100)) + "\n"
    except UsageError as error:
        return f"{error.message}\n{error.hint}\n"


@pytest.mark.parametrize("name", GOLDEN)
def test_the_plan_of_a_known_machine_is_the_golden_one(name: str) -> None:
    assert shown(*GOLDEN[name]) == (PLANS / f"{name}.txt").read_text(encoding="utf-8")


def test_the_page_for_newcomers_shows_the_plan_as_it_is() -> None:
    page = (PLANS.parent.parent / "docs" / "engine.md").read_text(encoding="utf-8")
    assert (PLANS / "4xH200.txt").read_text(encoding="utf-8") in page


def test_no_golden_file_is_left_behind() -> None:
    assert {path.stem for path in PLANS.glob("*.txt")} == set(GOLDEN)


class TestFourH200:
    def test_begins_with_the_words_of_the_model_card(self) -> None:
        assert list(made("4xH200").commands[0].argv[: len(CARD)]) == CARD

    def test_marks_exactly_those_words_as_the_cards(self) -> None:
        words = [word for flag in made("4xH200").flags if flag.card for word in flag.words]
        assert ["vllm", "serve", "zai-org/GLM-4.7-FP8", *words] == CARD

    def test_gives_a_reason_for_every_flag(self) -> None:
        for flag in made("4xH200").flags:
            assert flag.reason.endswith("."), flag.words


class TestModels:
    @pytest.mark.parametrize(
        ("config", "billions"), [(models.GLM_47_CONFIG, 358), (models.GLM_47_FLASH_CONFIG, 31.2)], ids=["4.7", "flash"]
    )
    def test_has_as_many_parameters_as_its_card_says(self, config: dict[str, Any], billions: float) -> None:
        assert models.parameters(config)[0] / 1e9 == pytest.approx(billions, rel=0.002)

    def test_kv_cache_of_a_token_is_keys_and_values_of_all_heads_and_layers(self) -> None:
        assert models.GLM_47.kv_bytes(mtp=False) == 92 * 8 * 2 * 128 * 2 == 368 * 1024
        assert models.GLM_47_FLASH.kv_bytes(mtp=False) == 47 * (512 + 64) * 2

    def test_is_found_by_its_name_on_the_hub_too(self) -> None:
        assert models.find("zai-org/GLM-4.7-Flash") is models.GLM_47_FLASH

    @pytest.mark.parametrize("name", ["gpt-9", "someone/GLM-4.7-FP8", ""])
    def test_an_unknown_name_is_refused_with_the_known_ones(self, name: str, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError) as refused:
            models.find(name)
        assert refused.value.hint or refused.value.message


class TestFolder:
    def write(self, folder: Path, **changes: Any) -> Path:
        config = models.GLM_47_FLASH_CONFIG | {"architectures": ["Glm4MoeLiteForCausalLM"]} | changes
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
        (folder / "a.safetensors").write_bytes(b"x" * 1000)
        return folder

    def test_has_the_facts_of_its_config_and_the_bytes_of_its_files(self, tmp_path: Path) -> None:
        model = models.find(str(self.write(tmp_path)))
        known = models.GLM_47_FLASH
        assert (model.kv_bytes(), model.heads, model.context) == (known.kv_bytes(), known.heads, known.context)
        assert (model.weights, model.tool_parser, model.precision) == (1000, "glm47", "bf16")

    def test_an_older_glm_gets_its_own_tool_parser(self, tmp_path: Path) -> None:
        (tmp_path / "chat_template.jinja").write_text("{{ '/nothink' }}")
        assert models.find(str(self.write(tmp_path))).tool_parser == "glm45"

    def test_a_model_of_another_family_is_planned_without_parsers(self, tmp_path: Path) -> None:
        folder = self.write(tmp_path, architectures=["LlamaForCausalLM"], kv_lora_rank=None, num_nextn_predict_layers=0)
        planned = plan.make(hardware.parse("1xH100"), models.find(str(folder)))
        words = planned.commands[0].argv
        assert not {"--tool-call-parser", "--reasoning-parser", "--speculative-config.method"} & set(words)

    def test_missing_weights_are_named(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        weights = {"weight_map": {"a": "a.safetensors", "b": "b.safetensors", "c": "b.safetensors"}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(weights))
        with pytest.raises(UsageError, match=r"lacks 1 of its 2 files of weights, such as b\.safetensors"):
            models.find(str(tmp_path))

    @pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"num_attention_heads": 0}'])
    def test_what_is_no_model_is_refused(self, text: str | None, tmp_path: Path) -> None:
        if text is not None:
            (tmp_path / "config.json").write_text(text)
        with pytest.raises(UsageError):
            models.find(str(tmp_path))

    @pytest.mark.parametrize(
        ("quantised", "precision"),
        [
            ({"quant_method": "fp8"}, "fp8"),
            (
                {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float"}}},
                },
                "fp8",
            ),
            ({"quant_method": "awq", "bits": 4}, "awq"),
        ],
        ids=["fp8", "compressed", "awq"],
    )
    def test_its_quantisation_is_read(self, quantised: dict[str, Any], precision: str, tmp_path: Path) -> None:
        assert models.find(str(self.write(tmp_path, quantization_config=quantised))).precision == precision


class TestHardware:
    @pytest.mark.parametrize(
        ("text", "hosts"),
        [
            ("4xH200", [["H200"] * 4]),
            ("4 x h200", [["H200"] * 4]),
            ("H100", [["H100"]]),
            ("8×H100-80", [["H100"] * 8]),
            ("2x8xH100", [["H100"] * 8] * 2),
            ("1xH100+2xL40S,1xH20", [["H100", "L40S", "L40S"], ["H20"]]),
            ("none", []),
        ],
    )
    def test_is_read_from_text(self, text: str, hosts: list[list[str]]) -> None:
        assert [[gpu.name for gpu in host] for host in hardware.parse(text).hosts] == hosts

    def test_a_size_chooses_the_variant(self) -> None:
        assert hardware.parse("1xH100-94").hosts[0][0].memory == int(93.0 * GIB)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "4x",
            "x",
            "-1xH100",
            "0xH100",
            "4xH2000",
            "4xH100-81",
            "2x2x2xH100",
            "2x4xH100+1xL4",
            "99999xL4",
            "4xH100,",
        ],
    )
    def test_what_names_no_gpus_is_refused_with_a_hint(self, text: str) -> None:
        with pytest.raises(UsageError) as refused:
            hardware.parse(text)
        assert refused.value.hint

    @settings(deadline=None)
    @given(st.text(max_size=30))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            assert all(hardware.parse(text).hosts)
        except UsageError as error:
            assert error.message  # noqa: PT017 - either outcome is right, and both are looked at

    @pytest.mark.parametrize(
        ("name", "short"),
        [
            ("NVIDIA H100 80GB HBM3", "H100"),
            ("NVIDIA H100 PCIe", "H100"),
            ("NVIDIA H200", "H200"),
            ("NVIDIA H20-3e", "H20"),
            ("NVIDIA A100-SXM4-80GB", "A100"),
            ("NVIDIA GH200 480GB", "GH200"),
            ("NVIDIA L40S", "L40S"),
            ("NVIDIA GeForce RTX 4090", "RTX4090"),
            ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTXPRO6000"),
            ("AMD Instinct MI300X VF", "MI300X"),
            ("NVIDIA Tesla T4", "Tesla T4"),
        ],
    )
    def test_a_drivers_name_becomes_the_one_people_say(self, name: str, short: str) -> None:
        assert hardware._short(name) == short

    def test_the_nvidia_gpus_of_this_host_are_found_through_the_drivers_library(self, tmp_path: Path) -> None:
        found = look(library=build_nvml(tmp_path))
        assert found == ["2xH100", "cuda", [["H100", 79 * GIB, "nvidia", [9, 0], True]] * 2]

    @pytest.mark.parametrize("wrapped", [False, True], ids=["list", "wrapped"])
    def test_the_amd_gpus_of_this_host_are_found_through_amd_smi(self, wrapped: bool, tmp_path: Path) -> None:
        row = {
            "gpu": 0,
            "asic": {"market_name": "AMD Instinct MI300X"},
            "vram": {"size": {"value": 196592, "unit": "MB"}},
        }
        program(tmp_path, json.dumps({"gpu_data": [row] * 8} if wrapped else [row] * 8))
        found = look(path=tmp_path)
        assert found == ["8xMI300X", "rocm", [["MI300X", 196592 << 20, "amd", [0, 0], True]] * 8]

    @pytest.mark.parametrize("says", ["", "[{}]", "{", '{"gpu_data": 3}', "null"])
    def test_an_amd_smi_that_talks_nonsense_counts_as_no_gpu(self, says: str, tmp_path: Path) -> None:
        program(tmp_path, says)
        assert look(path=tmp_path) == ["none", "cpu", []]


class TestProperties:
    @settings(deadline=None)
    @given(
        st.sampled_from(KINDS),
        st.integers(1, 24),
        st.integers(1, 3),
        st.sampled_from(list(models.KNOWN.values())),
        st.booleans(),
    )
    def test_a_plan_fits_divides_and_names_every_gpu_once(
        self, kind: tuple[str, int], count: int, hosts: int, model: models.Model, short: bool
    ) -> None:
        found = hardware.parse(f"{hosts}x{count}x{kind[0]}-{kind[1]}")
        try:
            planned = plan.make(found, model, Wishes(max_len=8192 if short else None))
        except UsageError as error:
            assert any(c.isdigit() for c in error.message) and error.hint  # noqa: PT017, PT018 - a refusal is right too
            return
        layout, memory = planned.layout, planned.memory
        assert model.heads % layout.tensor == 0
        assert model.latent or model.kv_heads % layout.tensor == 0 or layout.tensor % model.kv_heads == 0
        assert memory.weights + memory.reserve + memory.tokens * memory.per_token <= planned.gpu.memory * 0.92
        assert memory.weights * layout.tensor * layout.stages >= model.weights
        assert LEAST <= planned.max_len <= memory.tokens
        assert planned.gpus + planned.unused == count * hosts
        assert layout.tensor * layout.per_host <= count
        assert len(planned.commands) == planned.engines * layout.stages
        addresses = [(c.host, c.argv[-1]) for c in planned.commands if "--headless" not in c.argv]
        assert len(set(addresses)) == planned.engines
        for host in range(hosts):
            named = [n for c in planned.commands if c.host == host and "--device-ids" in c.argv for n in ids(c)]
            assert len(named) == len(set(named))
            assert set(named) <= set(range(count))

    @settings(deadline=None)
    @given(st.sampled_from(KINDS), st.integers(1, 23), st.sampled_from(list(models.KNOWN.values())))
    def test_one_more_gpu_never_keeps_fewer_tokens(
        self, kind: tuple[str, int], count: int, model: models.Model
    ) -> None:
        assert kept(kind, count, 1, model) <= kept(kind, count + 1, 1, model)

    @settings(deadline=None)
    @given(st.sampled_from(KINDS), st.integers(1, 16), st.integers(1, 3), st.sampled_from(list(models.KNOWN.values())))
    def test_twice_the_hosts_never_keep_fewer_tokens(
        self, kind: tuple[str, int], count: int, hosts: int, model: models.Model
    ) -> None:
        assert kept(kind, count, hosts, model) <= kept(kind, count, 2 * hosts, model)

    @settings(deadline=None)
    @given(st.integers(1, 64), st.sampled_from(list(models.KNOWN.values())))
    def test_no_gpu_keeps_less_than_its_share_of_a_token(self, tensor: int, model: models.Model) -> None:
        if model.splits(tensor):
            assert model.kv_bytes(tensor) * tensor >= model.kv_bytes(1)
            assert model.kv_bytes(tensor) == 2 * model.kv_bytes(tensor, fp8=True)


class TestRefusals:
    def test_the_first_size_that_is_said_to_fit_does_fit(self) -> None:
        with pytest.raises(UsageError) as refused:
            made("2xH100", "glm-4.7-fp8")
        assert "What would fit: 8 x H100" in refused.value.hint
        assert made("8xH100", "glm-4.7-fp8").engines == 1

    @pytest.mark.parametrize(
        ("gpus", "model", "wishes", "says"),
        [
            ("4xH200", "", {"max_len": 300_000}, "can read 202,752 tokens at most, not 300,000"),
            ("4xH200", "", {"max_len": 0}, "not 0"),
            ("4xH200", "", {"utilization": 1.5}, "1.5"),
            ("4xH200", "", {"replicas": 0}, "fewer engines than one"),
            ("4xH200", "", {"kv_offload": -1}, "less memory than none"),
            ("4xH200", "", {"replicas": 5}, "5 engines cannot be laid on 1 x 4 H200"),
            ("2x8xH100", "", {"replicas": 4}, "16 x H100 as 4 engines"),
            ("1xH100", "glm-4.7-flash", {"max_len": 200_000}, "room for 147,925 tokens, not 200,000"),
            ("8xA100", "", {"kv_fp8": True}, "no FP8 arithmetic"),
            ("8xMI250X", "glm-4.7-fp8", {}, "no FP8 arithmetic"),
            ("2xH100+2xL40S", "glm-4.7", {}, r"do not match \(2 x H100"),
        ],
    )
    def test_what_cannot_be_is_said_with_its_numbers(
        self, gpus: str, model: str, wishes: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(UsageError, match=says) as refused:
            made(gpus, model, **wishes)
        assert refused.value.hint

    def test_a_wish_that_cannot_be_had_is_no_reason_for_another_model(self) -> None:
        with pytest.raises(UsageError, match=r"GLM-4\.7-FP8"):
            made("8xH100", replicas=2)


class TestWishes:
    def test_fp8_keys_and_values_keep_twice_the_tokens(self) -> None:
        assert made("8xH100", kv_fp8=True).memory.tokens == pytest.approx(2 * made("8xH100").memory.tokens, abs=1)

    def test_memory_of_the_host_is_shared_by_its_engines(self) -> None:
        planned = made("8xH200", replicas=2, kv_offload=400)
        assert "--kv-offloading-size 200 " in str(planned.commands[1])
        assert planned.memory.offloaded_tokens == 200 * GIB // models.GLM_47_FP8.kv_bytes(1)

    def test_a_shorter_context_is_given_to_vllm(self) -> None:
        assert "--max-model-len 65536" in str(made("4xH200", max_len=65_536).commands[0])

    def test_experts_stay_whole_where_their_parts_would_not_suit_the_kernels(self) -> None:
        sixteen = Hardware((tuple([Gpu("H100", 79 * GIB, "nvidia", (9, 0), fp8=True)] * 16),), "16xH100")
        words = [
            word
            for flag in plan.flags_for(models.GLM_47, Layout(16), Wishes(), max_len=202_752, hosts=1)
            for word in flag.words
        ]
        assert "--enable-expert-parallel" in words
        assert "--enable-expert-parallel" in plan.make(sixteen, models.GLM_47).commands[0].argv
        assert "--enable-expert-parallel" not in made("8xH100").commands[0].argv


class TestCommand:
    def run(self, *words: str) -> Any:
        return CliRunner().invoke(cli.commands, ["engine", "plan", *words], standalone_mode=False)

    def test_shows_the_plan_for_people(self) -> None:
        shown = self.run("--gpus", "4xH200", "--socket", "/run/user/1000/glm-lsp/vllm.sock").output
        assert shown == (PLANS / "4xH200.txt").read_text(encoding="utf-8")

    def test_tells_programs_the_same(self) -> None:
        told = json.loads(self.run("--gpus", "4xH200", "--json", "--socket", "/s/vllm.sock").output)
        assert told["fits"] is True
        assert told["commands"][0]["argv"][: len(CARD)] == CARD
        assert told["commands"][0]["shell"].endswith("--uds /s/vllm.sock")
        assert told["memory"]["tokens"] == made("4xH200").memory.tokens

    def test_tells_programs_of_a_refusal(self) -> None:
        result = self.run("--gpus", "none", "--json")
        told = json.loads(result.output)
        assert (told["fits"], result.return_value) == (False, 4)
        assert "361 GB" in told["message"]

    def test_refuses_people_with_an_exit_code(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["engine", "plan", "--gpus", "1xH200", "--model", "glm-4.7-fp8"]) == 4
        assert "What would fit: 4 x H200" in capsys.readouterr().err

    def test_its_own_socket_lies_in_a_folder_of_the_persons_own(self, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.setenv("GLM_LSP_STATE_DIR", str(tmp_path))
        told = json.loads(self.run("--gpus", "4xH200", "--json").output)
        socket = Path(told["commands"][0]["argv"][-1])
        assert socket.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.engine
def test_vllm_itself_takes_every_flag_of_every_plan() -> None:
    from engine import server

    commands = []
    for gpus, model, wishes in [*GOLDEN.values(), ("1xH100", "", {"utilization": 0.9, "max_len": 65_536})]:
        try:
            commands += [list(command.argv[2:]) for command in made(gpus, model, **wishes).commands]
        except UsageError:
            continue
    done = subprocess.run(
        [server.engine_python(), "-I", "-c", PARSE],
        input=json.dumps(commands),
        env=os.environ | {"VLLM_LOGGING_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    parsed = json.loads(done.stdout.splitlines()[-1])
    assert len(parsed) == len(commands) > 15
    for words, seen in zip(commands, parsed, strict=True):
        assert seen["model"] == words[0]
        assert seen["tensor"] == int(words[words.index("--tensor-parallel-size") + 1])
        assert seen["thinking"] == {"clear_thinking": False}
        assert seen["mtp"] == (None if seen["stages"] > 1 else {"method": "mtp", "num_speculative_tokens": 1})
        assert seen["headless"] == ("--headless" in words)


PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.reasoning import ReasoningParserManager
from vllm.tool_parsers import ToolParserManager
parser = make_arg_parser(FlexibleArgumentParser())
seen = []
for words in json.load(sys.stdin):
    args = parser.parse_args(words[1:] + ["--model", words[0]])
    ToolParserManager.get_tool_parser(args.tool_call_parser)
    ReasoningParserManager.get_reasoning_parser(args.reasoning_parser)
    seen.append({"model": args.model, "tensor": args.tensor_parallel_size, "stages": args.pipeline_parallel_size,
                 "thinking": args.default_chat_template_kwargs, "mtp": args.speculative_config,
                 "headless": args.headless})
print(json.dumps(seen))
"""

LEAST = 8192


def kept(kind: tuple[str, int], count: int, hosts: int, model: models.Model) -> int:
    """Tokens that all engines keep, 0 where nothing fits."""
    try:
        planned = plan.make(hardware.parse(f"{hosts}x{count}x{kind[0]}-{kind[1]}"), model)
    except UsageError:
        return 0
    return planned.memory.tokens * planned.engines


def ids(command: plan.Command) -> list[int]:
    words = command.argv
    return [int(number) for number in words[words.index("--device-ids") + 1].split(",")]


def look(*, library: Path | None = None, path: Path | None = None) -> list[Any]:
    """What a process finds whose driver's library or whose `amd-smi` is ours."""
    code = (
        "import json; from glm_lsp.engine.local import hardware; found = hardware.find();"
        "print(json.dumps([found.said, found.platform, [[g.name, g.memory, g.vendor, g.capability, g.fp8]"
        " for host in found.hosts for g in host]]))"
    )
    environment = dict(os.environ, PATH=f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"])
    if library is not None:
        environment["LD_LIBRARY_PATH"] = str(library)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def program(folder: Path, says: str) -> None:
    """An `amd-smi` that says this."""
    (folder / "says").write_text(says)
    (folder / "amd-smi").write_text(f'#!/bin/sh\ntest "$*" = "static --asic --vram --json" && cat {folder}/says\n')
    (folder / "amd-smi").chmod(0o755)


def build_nvml(folder: Path) -> Path:
    """A driver's library with two H100, built by the C compiler."""
    (folder / "nvml.c").write_text(NVML)
    compiler = shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", folder / "nvml.c"], check=True)
    return folder


NVML = r"""
#include <string.h>
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(long)(index + 1); return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned size) { strncpy(name, "NVIDIA H100 80GB HBM3", size); return 0; }
int nvmlDeviceGetMemoryInfo_v2(void *device, memory *m) { m->total = 80ull << 30; m->reserved = 1ull << 30; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { *major = 9; *minor = 0; return 0; }
"""

if __name__ == "__main__":
    PLANS.mkdir(exist_ok=True)
    for name, case in GOLDEN.items():
        (PLANS / f"{name}.txt").write_text(shown(*case), encoding="utf-8")
