"""Our models as lm_eval asks them: batches that fit into memory and stay the same, and no answers out of NaN."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import gguf_models, mmlu_folder
from support.evaluation_jobs import ran

from slmstudio.core.errors import UserError
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.benchmark.language_model import harness_model


@pytest.fixture
def opened(tiny_model, tmp_path):
    """The tiny model, loaded."""
    models = Models(gguf_models.context(tmp_path / "opened", kind="evaluate", precision="fp32", models=[]))
    yield models.open({"name": "base", "model": str(tiny_model)})
    models.close()


def questions(count: int) -> list[Any]:
    """Prompts of many lengths, each with four letters to choose from, and one of them with longer choices."""
    asked = [(f"{'Why? ' * (3 * number % 17 + 1)}Number {number}.\nAnswer:", f" {letter}")
             for number in range(count) for letter in "ABCD"]
    asked += [("The capital of Kerala is", f" {city}") for city in ("Mumbai", "Thiruvananthapuram", "Patna on Ganga")]
    return [SimpleNamespace(args=each) for each in asked]


def watched(model: Any, most: int = 1000) -> list[tuple[int, int]]:
    """Rows and tokens of each call of the model, which has memory for so many rows and no more."""
    calls: list[tuple[int, int]] = []
    plain = type(model.model).forward

    @functools.wraps(plain)
    def forward(*arguments: Any, **options: Any) -> Any:
        ids = arguments[0] if arguments else options["input_ids"]
        if len(ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        calls.append(tuple(ids.shape))
        return plain(model.model, *arguments, **options)

    model.model.forward = forward
    return calls


def likelihoods(model: Any, asked: list[Any], cache: Path | None = None, rows: int = 4,
                tell: Callable[[int, int, int], None] = lambda *_: None) -> list[Any]:
    lm = harness_model(model, "base", tell, str(cache) if cache else None, rows)
    try:
        return lm.loglikelihood(asked, disable_tqdm=True)
    finally:
        lm.close()


class TestMemory:
    def test_a_batch_that_does_not_fit_is_halved(self, opened):
        asked = questions(11)
        calls = watched(opened)
        alone = likelihoods(opened, asked, rows=1)
        assert {rows for rows, _ in calls} == {1}
        calls = watched(opened, most=3)
        found = likelihoods(opened, asked, rows=16)
        assert max(rows for rows, _ in calls) > 1
        for mine, other in zip(found, alone, strict=True):
            assert mine[0] == pytest.approx(other[0], abs=1e-4) and mine[1] == other[1]

    def test_one_row_that_does_not_fit_is_a_sentence(self, opened):
        watched(opened, most=0)
        with pytest.raises(UserError) as caught:
            likelihoods(opened, questions(3))
        assert "too little memory" in caught.value.what and "base" in caught.value.what
        assert "tokens" in caught.value.why
        assert "--shots" in caught.value.remedy and "--precision" in caught.value.remedy

    def test_rows_are_as_many_as_the_memory_has_room_for(self, opened):
        asked = questions(11)
        calls = watched(opened)
        words = opened.model.config.vocab_size
        opened.memory = 300 * (2 * words * 4 + opened.bytes_per_token)
        likelihoods(opened, asked, rows=16)
        assert all(rows == 1 or rows * length <= 300 for rows, length in calls)
        assert len({rows for rows, _ in calls}) > 1 and max(rows for rows, _ in calls) > 2
        opened.memory = 0
        calls.clear()
        likelihoods(opened, asked, rows=16)
        assert {rows for rows, _ in calls} == {1}

    def test_answers_that_are_written_are_halved_too(self, opened):
        asked = [SimpleNamespace(args=(f"{'Why? ' * number}Number {number}.", {
            "until": ["\n"], "do_sample": False, "max_gen_toks": 4})) for number in range(1, 8)]

        def written(most: int) -> list[str]:
            watched(opened, most)
            return harness_model(opened, "base", lambda *_: None, None, 4).generate_until(asked, disable_tqdm=True)

        assert len(written(1)) == 7 and written(1) == written(2)
        with pytest.raises(UserError, match="too little memory"):
            written(0)


class TestResumed:
    def test_the_same_batches_as_without_a_break(self, opened, tmp_path):
        asked, calls = questions(11), watched(opened)
        whole = likelihoods(opened, asked, tmp_path / "whole.db")
        made = list(calls)
        assert len(made) == 4 and len({length for _, length in made}) > 1

        def cancel(done: int, left: int, before: int) -> None:
            if done >= 8:
                raise InterruptedError

        calls.clear()
        with pytest.raises(InterruptedError):
            likelihoods(opened, asked, tmp_path / "broken.db", tell=cancel)
        assert calls == made[:2]
        calls.clear()
        told: list[tuple[int, int, int]] = []
        resumed = likelihoods(opened, asked, tmp_path / "broken.db", tell=lambda *each: told.append(each))
        assert resumed == whole and calls == made[2:]
        assert told == [(0, 6, 8), (4, 6, 8)]

    def test_a_batch_of_which_one_answer_is_missing_is_asked_again_as_a_whole(self, opened, tmp_path):
        from sqlitedict import SqliteDict

        asked, calls = questions(11), watched(opened)
        whole = likelihoods(opened, asked, tmp_path / "kept.db")
        made = list(calls)
        with SqliteDict(str(tmp_path / "kept.db"), autocommit=True) as kept:
            del kept[next(iter(kept))]
        calls.clear()
        assert likelihoods(opened, asked, tmp_path / "kept.db") == whole
        assert len(calls) == 1 and calls[0] in made

    def test_answers_that_are_written(self, opened, tmp_path):
        asked = [SimpleNamespace(args=(f"{'Why? ' * number}Number {number}.", {
            "until": ["\n"], "do_sample": False, "max_gen_toks": 4})) for number in range(1, 10)]

        def written(tell: Callable[[int, int, int], None] = lambda *_: None) -> list[str]:
            return harness_model(opened, "base", tell, str(tmp_path / "kept.db"), 4).generate_until(asked)

        def cancel(done: int, left: int, before: int) -> None:
            if done >= 4:
                raise InterruptedError

        whole = harness_model(opened, "base", lambda *_: None, None, 4).generate_until(asked)
        with pytest.raises(InterruptedError):
            written(cancel)
        calls = watched(opened)
        assert written() == whole
        assert {rows for rows, _ in calls} == {4, 1}  # batches of 4, 4 and 1, of which the first was there
        calls.clear()
        assert written() == whole and not calls


class TestNoNumber:
    @pytest.fixture
    def loud(self, tiny_model, tmp_path):
        """A model whose numbers are larger than fp16 can hold, as of some that were trained in bf16."""
        from transformers import AutoModelForCausalLM

        folder = tmp_path / "loud"
        model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "up_proj" in name or "down_proj" in name:
                    weight.mul_(3e4)
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            if (tiny_model / name).exists():
                shutil.copy(tiny_model / name, folder / name)
        return folder

    def test_choices_are_refused_and_not_all_a(self, loud, tmp_path):
        data = mmlu_folder.write(tmp_path / "mmlu", 2)
        with pytest.raises(UserError) as caught:
            ran(tmp_path / "job", "mmlu", data, loud, precision="fp16", shots=0)
        assert caught.value.what == "base computed something that isn't a number (NaN)."
        assert "fp16" in caught.value.why and "--precision bf16" in caught.value.remedy
        assert not (tmp_path / "job" / "scores.json").exists()
        assert ran(tmp_path / "job", "mmlu", data, loud, precision="bf16", shots=0)[0]["title"] == "MMLU"

    def test_written_answers_are_refused(self, loud, tmp_path):
        asked = [SimpleNamespace(args=("Why?", {"until": ["\n"], "do_sample": False, "max_gen_toks": 4}))]
        models = Models(gguf_models.context(tmp_path / "opened", kind="evaluate", precision="fp16", models=[]))
        model = models.open({"name": "base", "model": str(loud)})
        with pytest.raises(UserError, match="isn't a number"):
            harness_model(model, "base", lambda *_: None).generate_until(asked)
        models.close()
