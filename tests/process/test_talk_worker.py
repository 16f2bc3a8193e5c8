"""Chat with what a run has just learned, and with its base: a real process, real weights, no GGUF file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import evaluated_runs, gguf_models
from support.chat_worker import Chat
from transformers import AutoModelForCausalLM, AutoTokenizer

from slmstudio.worker.answering.model_loader import with_adapter

pytestmark = pytest.mark.timeout(180)
QUESTION = [{"role": "user", "content": "Where do I report a broken street light?"}]


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run whose adapter says something else than its base."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMSTUDIO_HOME", str(tmp_path_factory.mktemp("home")))
        folder = evaluated_runs.ended_run("helpdesk", tiny_model)
        gguf_models.adapter_on(tiny_model, folder / "adapter", lora_alpha=64)
        yield folder


@pytest.fixture
def talk() -> Iterator[Chat]:
    made = Chat("talk")
    yield made
    made.worker.close()
    assert not made.worker.is_alive()


def by_transformers(base: Path, adapter: Path | None, count: int) -> str:
    """The greedy answer, computed without our worker."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base).eval(), AutoTokenizer.from_pretrained(base)
    if adapter is not None:
        model = with_adapter(model, adapter)
    prompt = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    found = model.generate(**prompt, max_new_tokens=count, do_sample=False)
    return str(tokenizer.decode(found[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True))


@pytest.mark.parametrize("tuned", [pytest.param(True, id="run"),
                                   pytest.param(False, id="base", marks=pytest.mark.full)])
def test_a_run_and_its_base_answer_without_an_export(run: Path, tiny_model: Path, talk: Chat, tuned: bool):
    _, loaded = talk.ask("load", path=str(run if tuned else tiny_model), context_length=None)
    assert loaded["type"] == "loaded", loaded
    assert (loaded["name"], loaded["context_length"]) == ("helpdesk" if tuned else "tiny", 512)
    assert loaded["chat_template"] and loaded["device"] == "cpu" and loaded["reason"]
    texts, done = talk.generate(QUESTION, max_tokens=12)
    text = "".join(texts)
    expected = by_transformers(tiny_model, run / "adapter" if tuned else None, 12)
    # Half a character at the end is held back; transformers shows it as a question mark.
    assert text == expected[:len(text)] and len(text) >= len(expected.rstrip("\ufffd")) - 1
    assert (done["reason"], done["completion_tokens"], done["cached_tokens"]) == ("length", 12, 0)
    longer = [*QUESTION, {"role": "assistant", "content": text}, {"role": "user", "content": "And a pothole?"}]
    _, second = talk.generate(longer, temperature=0.8, seed=3, max_tokens=4)
    assert second["type"] == "done", second
    assert second["cached_tokens"] >= done["prompt_tokens"], "only what is new is read"
    again = ["".join(talk.generate(QUESTION, temperature=1.0, seed=7, max_tokens=8)[0]) for _ in range(2)]
    assert again[0] == again[1], "the same seed; it's cut into pieces as time goes"
