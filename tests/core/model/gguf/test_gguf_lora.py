"""GGUF LoRAs: what they change, what they fit, and where they are found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support import model_files

from slmstudio.core import paths
from slmstudio.core.chat.partners import adapters, train_file
from slmstudio.core.errors import UserError
from slmstudio.core.model.gguf.lora import check_fits, fitting, read_lora

IS_LORA = {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama"}
Tensors = dict[str, tuple[int, tuple[int, ...], int]]


def f32(**shapes: tuple[int, ...]) -> Tensors:
    sizes = {name.replace("__", "."): shape for name, shape in shapes.items()}
    return {name: (0, shape, 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)) for name, shape in sizes.items()}


PAIR = f32(blk__0__attn_q__weight__lora_a=(8, 2), blk__0__attn_q__weight__lora_b=(2, 16))
BASE = f32(token_embd__weight=(8, 32), blk__0__attn_q__weight=(8, 16))


def write(path: Path, metadata: dict[str, object], tensors: Tensors) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model_files.gguf(metadata, tensors))
    return path


def test_what_it_changes(tmp_path: Path) -> None:
    lora = read_lora(write(tmp_path / "help-lora.gguf", {**IS_LORA, "general.name": "help"}, PAIR))
    assert (lora.name, lora.architecture, lora.rank) == ("help", "llama", 2)
    assert lora.shapes == {"blk.0.attn_q.weight": (8, 16)}
    base = write(tmp_path / "base.gguf", {"general.architecture": "llama"}, BASE)
    check_fits(lora, base)
    assert fitting(base, [lora.path]) == [lora]


def test_the_embedding_stands_the_other_way_round(tmp_path: Path) -> None:
    tensors = f32(token_embd__weight__lora_a=(2, 32), token_embd__weight__lora_b=(2, 8))
    lora = read_lora(write(tmp_path / "x-lora.gguf", IS_LORA, tensors))
    check_fits(lora, write(tmp_path / "base.gguf", {"general.architecture": "llama"}, BASE))
    assert lora.shapes == {"token_embd.weight": (8, 32)}


@pytest.mark.parametrize(("metadata", "tensors", "words"), [
    ({"general.architecture": "llama"}, PAIR, "isn't a LoRA adapter"),
    ({**IS_LORA, "adapter.type": "control"}, PAIR, "isn't a LoRA adapter"),
    ({"general.type": "adapter", "adapter.type": "lora"}, PAIR, "damaged"),
    (IS_LORA, {}, "damaged"),
    (IS_LORA, f32(blk__0__attn_q__weight=(8, 16)), "isn't part"),
    (IS_LORA, f32(x__lora_a=(8, 2)), "incomplete"),
    (IS_LORA, f32(x__lora_b=(2, 8)), "incomplete"),
    (IS_LORA, f32(x__lora_a=(8, 2), x__lora_b=(3, 8)), "different ranks"),
    (IS_LORA, f32(x__lora_a=(8,), x__lora_b=(8,)), "incomplete"),
])
def test_what_is_no_adapter_is_refused(tmp_path: Path, metadata, tensors, words: str) -> None:
    with pytest.raises(UserError) as caught:
        read_lora(write(tmp_path / "x.gguf", metadata, tensors))
    assert words in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize(("architecture", "base", "words"), [
    ("qwen2", BASE, "trained on a llama model; this one is qwen2"),
    ("llama", f32(token_embd__weight=(8, 32)), "doesn't have"),
    ("llama", f32(blk__0__attn_q__weight=(8, 8)), "8 × 8 values in the model, and 8 × 16"),
])
def test_what_does_not_fit_is_said(tmp_path: Path, architecture: str, base: Tensors, words: str) -> None:
    lora = read_lora(write(tmp_path / "x-lora.gguf", IS_LORA, PAIR))
    path = write(tmp_path / "base.gguf", {"general.architecture": architecture}, base)
    with pytest.raises(UserError, match="doesn't fit base") as caught:
        check_fits(lora, path)
    assert words in caught.value.why and caught.value.remedy
    assert fitting(path, [lora.path]) == []


def test_adapters_are_found_beside_the_model_and_in_runs(tmp_path: Path, studio_home: Path) -> None:
    base = write(tmp_path / "models" / "base.gguf", {"general.architecture": "llama"}, BASE)
    beside = write(tmp_path / "models" / "own-lora.gguf", IS_LORA, PAIR)
    run = paths.runs_dir() / "run-1"
    exported = write(run / "exports" / "helpdesk-lora.gguf", IS_LORA, PAIR)
    write(run / "exports" / "other-lora.gguf", {**IS_LORA, "general.architecture": "qwen2"}, PAIR)
    merged = write(run / "exports" / "helpdesk-F16.gguf", {"general.architecture": "llama"}, BASE)
    os.utime(beside, ns=(1, 1))
    assert [each.path for each in adapters(base)] == [exported.resolve(), beside.resolve()]
    (run / "run.json").write_text(json.dumps({"train_file": "/data/rows.jsonl"}))
    assert adapters(merged) == [], "its adapter is merged into it"
    assert train_file(merged) == train_file(exported) == (Path("/data/rows.jsonl"), None)
    assert train_file(base) is None
    (run / "run.json").write_text("{}")
    assert train_file(merged) is None
    with pytest.raises(UserError):
        adapters(tmp_path / "gone" / "x.gguf")
