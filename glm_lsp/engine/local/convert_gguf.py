"""Turns a GGUF file into a folder of bfloat16 weights, a configuration and a tokenizer, as vLLM serves it.

Never imports glm_lsp: it is run as a script by the engine's own interpreter, which has torch, transformers and gguf.

Usage: `python convert_gguf.py FILE.gguf FOLDER`. Each step is one line on standard output, `percent step`.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Reads the command line and converts one file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    convert(arguments.gguf, arguments.folder)


def convert(gguf: Path, folder: Path) -> None:
    """Writes `model.safetensors`, `config.json`, the generation settings and the tokenizer into `folder`.

    The weights are unpacked to bfloat16; a head tied to the embedding is left out, as the architecture restores it.
    """
    step(0, "importing torch and transformers")
    import torch  # noqa: PLC0415 - takes seconds, and the first line should show before them
    from safetensors.torch import save_file  # noqa: PLC0415 - as above
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - as above

    folder.mkdir(parents=True, exist_ok=True)
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    step(15, "reading the tokenizer")
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    step(35, "unpacking the weights")
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.bfloat16)
    weights = {name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    step(80, "writing the weights")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    # A fresh configuration: the loaded model's one still says that the weights are quantised, and refuses to be saved.
    config = AutoConfig.from_pretrained(**where)
    settings = {key: value for key, value in config.to_dict().items() if key != "quantization_config"}
    settings |= {"architectures": [type(model).__name__], "dtype": "bfloat16"}
    type(config)(**settings).save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    step(100, "done")


def step(percent: int, name: str) -> None:
    """Says where the conversion is."""
    print(percent, name, flush=True)  # noqa: T201 - the launcher reads these lines


if __name__ == "__main__":
    main()
