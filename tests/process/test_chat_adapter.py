"""The strength of an adapter in chat: a small model, a GGUF LoRA for it, and the two merged at several strengths."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from support import starter
from support.chat_worker import Chat
from support.tiers import first_fast

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.jobs.interactive import InteractiveWorker
from slmstudio.core.model.gguf.lora import fitting, read_lora
from slmstudio.worker.answering.rows import Ask

WIDTH, INNER, LAYERS, HEADS, RANK, ALPHA = 64, 96, 2, 4, 4, 8.0
STRENGTHS = (0.5, 1.0, 1.5)
ASK = [{"role": "user", "content": "My order 4521 has not arrived. कब आएगा?"}]
Weights = dict[str, np.ndarray]


def random_weights(vocabulary: int) -> Weights:
    draw = np.random.default_rng(0)
    shapes = {"token_embd": (vocabulary, WIDTH)}
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in {
            "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH // 2, WIDTH), "attn_v": (WIDTH // 2, WIDTH),
            "attn_output": (WIDTH, WIDTH), "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH),
            "ffn_down": (WIDTH, INNER)}.items()}
    weights = {name + ".weight": draw.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = ["output_norm", *(f"blk.{layer}.{name}" for layer in range(LAYERS) for name in ("attn_norm", "ffn_norm"))]
    return weights | {name + ".weight": np.ones(WIDTH, np.float32) for name in norms}


@functools.cache
def tokenizer() -> list[tuple[str, Any, Any, Any]]:
    """The starter model's, as what a file says of it: names, values and their types."""
    fields = (field for field in gguf.GGUFReader(starter.gguf()).fields.values() if field.name.startswith("tokenizer."))
    return [(field.name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
            for field in fields]


def write_model(path: Path, weights: Weights, architecture: str = "llama") -> Path:
    """A Llama with the starter model's vocabulary and chat template."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    for value in tokenizer():
        writer.add_key_value(*value)
    for name, weight in weights.items():
        writer.add_tensor(name, weight)
    return close(writer, path)


def write_lora(path: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]], architecture: str = "llama",
               **other: str) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(other.get("type", "adapter"))
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, (a, b) in parts.items():
        writer.add_tensor(name + ".lora_a", a)
        writer.add_tensor(name + ".lora_b", b)
    return close(writer, path)


def close(writer: Any, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    """"base" and "lora", and by strength the two merged by us."""
    folder = tmp_path_factory.mktemp("adapter")
    weights = random_weights(49152)
    draw = np.random.default_rng(1)
    parts = {name: (draw.normal(0, 0.2, (RANK, weight.shape[1])).astype(np.float32),
                    draw.normal(0, 0.2, (weight.shape[0], RANK)).astype(np.float32))
             for name, weight in weights.items() if name.startswith("blk.") and weight.ndim == 2}
    made: dict[Any, Path] = {"base": write_model(folder / "base.gguf", weights),
                             "lora": write_lora(folder / "helpdesk-lora-F16.gguf", parts)}
    for strength in STRENGTHS:
        merged = {name: weight + strength * ALPHA / RANK * (parts[name][1] @ parts[name][0]) if name in parts else
                  weight for name, weight in weights.items()}
        made[strength] = write_model(folder / f"merged-{strength}.gguf", merged)
    return made


# -- the numbers ---------------------------------------------------------------------------------------------


def logits(path: Path, lora: Path | None = None, scales: tuple[float, ...] = (0.0,)) -> list[np.ndarray]:
    """What the model says next, at each strength in turn."""
    import llama_cpp

    from slmstudio.worker.gguf_chat.model import ChatAdapter, ChatModel

    model = ChatModel(path, 256)
    try:
        adapter, found = ChatAdapter(model, path), []
        prompt = model.vocab.encode(model.vocab.template.render(ASK, add_generation_prompt=True))
        for scale in scales:
            adapter.set(str(lora) if lora else None, scale)
            model.read(prompt, lambda: False)
            count = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model.model))
            found.append(np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model.context, -1), (count,)).copy())
        return found
    finally:
        model.close()


@pytest.mark.full
def test_each_strength_is_that_much_of_the_update(files: dict[Any, Path]) -> None:
    """At 0 the very numbers of the base, at 1 those of the merged model, and what lies between and beyond."""
    [base] = logits(files["base"])
    none, *some = logits(files["base"], files["lora"], (0.0, *STRENGTHS))
    assert np.array_equal(none, base)
    for strength, found in zip(STRENGTHS, some, strict=True):
        [expected] = logits(files[strength])
        assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-3
        assert np.linalg.norm(found - base) / np.linalg.norm(base) > 0.1, "the adapter does something"


def test_going_back_gives_the_same_numbers_again(files: dict[Any, Path]) -> None:
    found = logits(files["base"], files["lora"], (1.0, 0.0, 1.5, 1.0, 0.0))
    assert np.array_equal(found[0], found[3]) and np.array_equal(found[1], found[4])


def test_an_evaluation_answers_with_it_beside_the_base_as_with_the_two_merged(files: dict[Any, Path]) -> None:
    from slmstudio.core.chat.placement import Wish
    from slmstudio.worker.answering.llama_model import load_gguf

    found = []
    for gguf_file, lora in ((files[1.0], None), (files["base"], str(files["lora"])), (files["base"], None)):
        model = load_gguf(gguf_file, 2**28, Wish(), lora)
        ask = Ask(model.encode("My order 4521"), (model.encode(" has not arrived"),))
        [reply] = model.run([ask], lambda share: None)
        found.append(reply.logprobs[0])
        model.close()
    assert found[1] == pytest.approx(found[0], rel=2e-3) != pytest.approx(found[2], rel=2e-3)


# -- the worker ----------------------------------------------------------------------------------------------


def answer(chat: Chat) -> tuple[str, dict[str, Any]]:
    """A greedy answer, and its figures."""
    texts, done = chat.generate(ASK, max_tokens=16)
    assert done["type"] == "done", done
    return "".join(texts), done


def adapt(chat: Chat, path: Path | None, scale: Any = 1.0) -> dict[str, Any]:
    """What the worker says of an adapter that it is to use."""
    return chat.ask("adapter", path=path and str(path), scale=scale)[1]


def load(chat: Chat, path: Path) -> None:
    assert chat.ask("load", path=str(path), context_length=256, device="cpu")[1]["type"] == "loaded"


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMSTUDIO_HOME", str(tmp_path_factory.mktemp("home")))
        paths.runs_dir().mkdir()
        made = Chat()
        yield made
    made.worker.close()


@pytest.fixture
def loaded(chat: Chat, files: dict[Any, Path]) -> Chat:
    load(chat, files["base"])
    return chat


def test_greedy_answers_are_those_of_base_and_tuned(loaded: Chat, files: dict[Any, Path]) -> None:
    base, _ = answer(loaded)
    said = adapt(loaded, files["lora"], 1.0)
    assert (said["type"], said["scale"], said["path"], said["rank"], said["alpha"]) == (
        "adapter", 1.0, str(files["lora"]), RANK, ALPHA)
    tuned, done = answer(loaded)
    assert done["cached_tokens"] == 0, "what was remembered came from other weights"
    assert answer(loaded)[1]["cached_tokens"] > 0
    assert adapt(loaded, files["lora"], 0)["scale"] == 0
    assert answer(loaded)[0] == base
    assert adapt(loaded, None)["path"] is None
    assert answer(loaded)[0] == base != tuned
    load(loaded, files[1.0])
    assert answer(loaded)[0] == tuned


def test_the_same_strength_again_costs_nothing(loaded: Chat, files: dict[Any, Path]) -> None:
    for _ in range(2):
        adapt(loaded, files["lora"], 0.5)
        _, done = answer(loaded)
    assert done["cached_tokens"] > 0


@pytest.mark.full
def test_another_model_begins_without_the_adapter(loaded: Chat, files: dict[Any, Path]) -> None:
    base, _ = answer(loaded)
    adapt(loaded, files["lora"], 1.5)
    load(loaded, files["base"])
    assert answer(loaded)[0] == base


@pytest.mark.full
def test_another_export_under_the_same_name_is_read(loaded: Chat, files: dict[Any, Path]) -> None:
    path = paths.runs_dir() / "again-lora-F16.gguf"
    parts = {"blk.0.ffn_up.weight": (np.zeros((RANK, WIDTH), np.float32), np.zeros((INNER, RANK), np.float32))}
    base, _ = answer(loaded)
    adapt(loaded, write_lora(path, parts))
    assert answer(loaded)[0] == base, "an update of zeros is none"
    a, b = (np.random.default_rng(2).normal(0, 3, part.shape).astype(np.float32) for part in
            parts["blk.0.ffn_up.weight"])
    write_lora(path, {"blk.0.ffn_up.weight": (a, b)})
    os.utime(path, ns=(1, 1))
    adapt(loaded, path)
    assert answer(loaded)[0] != base


@pytest.mark.parametrize("make", first_fast(["shape", "missing", "a model", "architecture", "layer", "half",
                                             "truncated", "too strong", "no number", "not a number"], 2))
def test_what_does_not_fit_is_refused_and_the_model_stays(loaded: Chat, files: dict[Any, Path], make: str) -> None:
    adapt(loaded, files["lora"], 1.0)
    before, _ = answer(loaded)
    state = adapt(loaded, *bad(make, files, paths.runs_dir() / f"{make}.gguf"))
    assert (state["type"], state["path"], state["scale"]) == ("adapter", str(files["lora"]), 1.0)
    _, error = loaded.answer()
    assert error["type"] == "error" and error["error"]["what"] and error["error"]["remedy"], error
    assert "traceback" not in str(error).lower() and "details" not in error
    after, done = answer(loaded)
    assert after == before and done["cached_tokens"] > 0


def bad(make: str, files: dict[Any, Path], path: Path) -> tuple[Path, Any]:
    a, b = np.ones((RANK, WIDTH), np.float32), np.ones((INNER, RANK), np.float32)
    if make == "a model":
        path = files["base"]
    elif make == "architecture":
        write_lora(path, {"blk.0.ffn_up.weight": (a, b)}, "qwen2")
    elif make == "shape":
        write_lora(path, {"blk.0.ffn_up.weight": (a, b[:-1])})
    elif make == "layer":
        write_lora(path, {"blk.9.ffn_up.weight": (a, b)})
    elif make == "half":
        write_lora(path, {"blk.0.ffn_up.weight": (a[:2], b)})
    elif make == "truncated":
        path.write_bytes(files["lora"].read_bytes()[:-64])
    scale = {"too strong": 2.5, "no number": "much", "not a number": True}.get(make, 1.0)
    return files["lora"] if make in ("too strong", "no number", "not a number") else path, scale


def test_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[Any, Path]) -> None:
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path))
    with InteractiveWorker("chat") as worker:
        worker.send({"command": "adapter", "path": str(files["lora"]), "scale": 1.0})
        assert next(worker.receive())["error"]["what"] == "No model is loaded."


# -- the files -----------------------------------------------------------------------------------------------


def test_the_facts_of_an_adapter(files: dict[Any, Path]) -> None:
    lora = read_lora(files["lora"])
    assert (lora.architecture, lora.alpha, lora.rank) == ("llama", ALPHA, RANK)
    assert lora.shapes["blk.1.ffn_down.weight"] == (INNER, WIDTH) and len(lora.shapes) == 7 * LAYERS
    assert fitting(files["base"], [files["lora"], files["base"], Path("gone.gguf")]) == [lora]
    assert fitting(starter.gguf(), [files["lora"]]) == []


def test_a_cut_adapter_is_refused_wherever_it_is_cut(files: dict[Any, Path], tmp_path: Path) -> None:
    data = files["lora"].read_bytes()
    path = tmp_path / "cut.gguf"
    for number in range(50):
        path.write_bytes(data[:len(data) * number // 50])
        with pytest.raises(UserError) as caught:
            read_lora(path)
        assert "cut.gguf" in caught.value.what and caught.value.why and caught.value.remedy
