"""Small models, adapters and run folders for the tests of import, export, parity and chat."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from support import family_models
from support import starter as starter_model
from support.once import made_once

from slmstudio.core.export.types import QuantType, choose

ROWS = (("My order 4521 has not arrived.", "Please share your phone number."),
        ("पासपोर्ट के लिए कौन से कागज़ चाहिए?", "आधार कार्ड और जन्म प्रमाण पत्र।"),
        ("Refund status for order 1234567?", "It takes 5 to 7 days."))


def quant_type(name: str) -> QuantType:
    return choose([name])[0][0]


def context(folder: Path, **request: Any) -> Any:
    """A job as the worker sees it."""
    from slmstudio.worker.runtime.context import JobContext

    folder.mkdir(parents=True, exist_ok=True)
    return JobContext(folder, request)


def events(folder: Path) -> list[dict[str, Any]]:
    from slmstudio.core.jobs.job import Job

    return list(Job(folder).events())


starter_gguf, starter = starter_model.gguf, starter_model.model


def tiny() -> Path:
    """Two layers of Llama with random weights and the starter's tokenizer; rows fit K-quants."""
    return made_once("tiny-starter", _build_tiny)


def _build_tiny(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=49152, hidden_size=256, intermediate_size=512, num_hidden_layers=2, bos_token_id=1,
                         eos_token_id=2, pad_token_id=2, num_attention_heads=4, num_key_value_heads=2,
                         max_position_embeddings=512, tie_word_embeddings=True)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(starter() / name, folder / name)


def families() -> Path:
    """The tiny model folders of all families, by their names."""
    return made_once("families", family_models.build_all)


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


def convert(run: Path, folder: Path, *types: str) -> dict[str, Path]:
    """GGUF files of a run or a model folder by type, under hidden names: an export without its proof."""
    from slmstudio.worker.export import export
    from slmstudio.worker.model.export_source import Source

    source = Source.of(run)
    folder.mkdir(exist_ok=True)
    job = context(folder / "job", importance=False)  # llama.cpp's own run has none either
    made = export._make_types(job, source, folder, [quant_type(name) for name in types])
    return {entry.type: entry.partial for entry in made}


def exported_run() -> tuple[Path, dict[str, Path]]:
    """A finished run on the tiny model, and its proven GGUF files by type; made once in a session."""
    run = made_once("tiny-exported", _export_tiny) / "run"
    return run, {kind: run / "exports" / f"pune-helpdesk-{kind}.gguf" for kind in ("F16", "Q8_0", "Q4_K_M")}


def export_result() -> dict[str, Any]:
    """What the export of that run gave."""
    return json.loads((made_once("tiny-exported", _export_tiny) / "result.json").read_text(encoding="utf-8"))


def _export_tiny(folder: Path) -> None:
    from slmstudio.worker.export import export

    run = run_folder(tiny(), folder / "runs").rename(folder / "run")
    result = export.run(context(folder / "job", run=str(run), types=["Q4_K_M", "F16", "Q8_0"]))
    assert [file["parity"]["failures"] for file in result["files"]] == [[], [], []]
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


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
