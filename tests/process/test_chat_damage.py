"""What a bad model file does to the chat worker: a sentence each, and the worker lives or its end is explained."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
from support import starter
from support.tiers import first_fast

from slmstudio.core.jobs.interactive import InteractiveWorker

QUESTION = [{"role": "user", "content": "What is the capital of India?"}]
TEMPLATE_KEY = b"tokenizer.chat_template"


@pytest.fixture(scope="module")
def gguf() -> Path:
    return starter.gguf()


@pytest.fixture
def worker(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    with InteractiveWorker("chat") as worker:
        yield worker


@pytest.fixture
def ask(worker):
    """`ask("load", path=...)`: the first message that is no token."""
    messages = worker.receive()

    def ask(command: str, **arguments):
        worker.send({"command": command, **arguments})
        return next((each for each in messages if each["type"] != "token"), None)

    return ask


@pytest.fixture
def copy(gguf, tmp_path) -> Path:
    return Path(shutil.copy(gguf, tmp_path / "model.gguf"))


def load_and_ask(ask, path: Path):
    """Load a model that can be loaded, and put a question."""
    loaded = ask("load", path=str(path), context_length=256)
    assert loaded["type"] == "loaded", loaded
    return ask("generate", id=1, messages=QUESTION, max_tokens=3, temperature=0)


def with_template(path: Path, template: bytes) -> Path:
    """Put another chat template into the file, in the old one's place."""
    data = path.read_bytes()
    at = data.index(TEMPLATE_KEY) + len(TEMPLATE_KEY) + 4
    length = int.from_bytes(data[at:at + 8], "little")
    assert len(template) <= length
    with open(path, "r+b") as file:
        file.seek(at + 8)
        file.write(template.ljust(length))
    return path


@pytest.mark.parametrize("step", first_fast([10, 1]))
def test_truncated_at_fifty_places(ask, worker, copy, gguf, step) -> None:
    data = gguf.read_bytes()
    first_tensor, last_tensor = data.index(b"blk.0."), data.rindex(b".weight", 0, 20_000_000)
    places = {0, 1, 3, 4, 7, 8, 15, 16, 23, *np.linspace(24, first_tensor, 16).astype(int).tolist(),
              *np.linspace(first_tensor + 1, last_tensor, 10).astype(int).tolist(),
              *np.linspace(last_tensor + 100, len(data) - 1, 15).astype(int).tolist()}
    assert len(places) == 50
    for size in sorted(places, reverse=True)[::step]:
        os.truncate(copy, size)
        error = ask("load", path=str(copy))
        assert error["type"] == "error", size
        said = error["error"]
        assert "model.gguf" in said["what"] and said["why"] and said["remedy"] and "details" not in error, (size, said)
        assert worker.is_alive()
    assert load_and_ask(ask, gguf)["type"] == "done"


def test_a_model_that_only_embeds(ask, tmp_path) -> None:
    path = embedding_model(tmp_path / "embedder.gguf")
    error = ask("load", path=str(path))
    assert error["error"]["what"] == "embedder.gguf can't chat." and "numbers" in error["error"]["why"]


@pytest.mark.parametrize(("template", "words"), first_fast([
    (b"{{ messages.__class__.__mro__[1].__subclasses__() }}", "tries to access '__class__'"),
    (b"{% for message in %}", "broken"), (b"{{ 'a' * 10**10 }}", "more memory"),
    (b"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "more time"),
    (b"{{ raise_exception('no, thanks') }}", "no, thanks"),
    (b"{{ ''.join.__globals__ }}{{ cycler.__init__.__globals__.os.popen('touch x') }}", "tries to access"),
    (b"{% set ns = namespace(x='ab') %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
     "more memory"),
    (b"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion")], 2))
def test_hostile_templates_are_stopped_and_named(ask, worker, copy, template, words) -> None:
    error = load_and_ask(ask, with_template(copy, template))
    assert error["type"] == "error" and "details" not in error, error
    assert words in error["error"]["what"] + error["error"]["why"] and error["error"]["remedy"]
    assert psutil.Process(worker.pid).memory_info().rss < 800 * 2**20
    assert ask("generate", id=2, messages=QUESTION, max_tokens=2, completion=True)["type"] == "done"


def test_without_a_template_it_says_so_or_goes_on_with_the_text(ask, copy) -> None:
    at = copy.read_bytes().index(TEMPLATE_KEY)
    with open(copy, "r+b") as file:
        file.seek(at)
        file.write(TEMPLATE_KEY.replace(b"chat", b"tahc"))
    loaded = ask("load", path=str(copy), context_length=256)
    assert loaded["chat_template"] is False
    refused = ask("generate", id=1, messages=QUESTION)
    assert refused["error"]["what"] == "This model has no chat template."
    text = [{"role": "user", "content": "The capital of India is"}]
    done = ask("generate", id=2, messages=text, completion=True, max_tokens=3, temperature=0)
    assert done["type"] == "done" and done["prompt_tokens"] < 8
    assert ask("count", messages=text, completion=True)["tokens"] == done["prompt_tokens"]
    empty = ask("generate", id=3, messages=[{"role": "user", "content": ""}], completion=True)
    assert empty["type"] == "error" and empty["error"]["what"] == "There is nothing to continue."


@pytest.mark.full
def test_a_model_that_is_deleted_while_it_chats(ask, copy) -> None:
    assert load_and_ask(ask, copy)["type"] == "done"
    copy.unlink()
    assert ask("generate", id=2, messages=QUESTION, max_tokens=2)["type"] == "done", "the system keeps it for us"
    error = ask("load", path=str(copy))
    assert error["error"]["why"] == "It doesn't exist." and "model.gguf" in error["error"]["what"]


def test_a_model_that_is_cut_short_while_it_chats(ask, worker, copy) -> None:
    assert load_and_ask(ask, copy)["type"] == "done"
    os.truncate(copy, 1000)
    assert ask("generate", id=2, messages=[{"role": "user", "content": "Tell me a tale."}]) is None
    assert "cut short" in worker.cause_of_death().why and "Load the model again" in worker.cause_of_death().remedy


def embedding_model(path: Path) -> Path:
    """A BERT of one layer with random weights: llama.cpp loads it, and it writes nothing."""
    import gguf

    writer = gguf.GGUFWriter(path, "bert")
    width, inner, words = 32, 64, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"▁{letter}" for letter in "abcdef")]
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(words)
    writer.add_token_types([3] * 5 + [1] * (len(words) - 5))
    writer.add_token_type_count(2)
    for name, number in (("pad", 0), ("unk", 1), ("sep", 3), ("mask", 4), ("bos", 2), ("eos", 3)):
        getattr(writer, f"add_{name}_token_id")(number)
    shapes = {"token_embd.weight": (len(words), width), "token_types.weight": (2, width),
              "position_embd.weight": (64, width), "token_embd_norm.weight": (width,), "token_embd_norm.bias": (width,)}
    for name, outputs, inputs in (("attn_q", width, width), ("attn_k", width, width), ("attn_v", width, width),
                                  ("attn_output", width, width), ("ffn_up", inner, width), ("ffn_down", width, inner)):
        shapes |= {f"blk.0.{name}.weight": (outputs, inputs), f"blk.0.{name}.bias": (outputs,)}
    for name in ("attn_output_norm", "layer_output_norm"):
        shapes |= {f"blk.0.{name}.weight": (width,), f"blk.0.{name}.bias": (width,)}
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(name, random.standard_normal(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
