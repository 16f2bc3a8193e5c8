"""Our loaded models as lm_eval sees them: its own class for model folders, so that its numbers are its own."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from transformers import LogitsProcessor, LogitsProcessorList

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.answering.rows import Ask, Model
from slmstudio.worker.answering.torch_model import TorchModel
from slmstudio.worker.training.methods import DTYPES

# -- A model's answers to lm_eval's requests, kept as they come, and the batches in which they are asked.

Tell = Callable[[int, int, int], None]
"""Called with prompts done, prompts to do, and those that were answered before; raises when the user cancels."""
Group = list[int]
"""Requests, by their numbers, that one prompt answers."""


class AnswerCache:
    """In the file of lm_eval's own cache and under its names, so that an interrupted run continues there.

    Args:
        path: of the file, made where it isn't there; None keeps nothing.
    """

    def __init__(self, path: str | None):
        self._answers: Any = {}
        if path is not None:
            from sqlitedict import SqliteDict

            self._answers = SqliteDict(path, autocommit=True)

    def find(self, kind: str, asked: Iterable[Any]) -> list[Any] | None:
        """The answers to all of them; None if one is missing."""
        found = []
        for each in asked:
            answer = None if _drawn(kind, each) else self._answers.get(_name(kind, each))
            if answer is None:
                return None
            found.append(answer)
        return found

    def keep(self, kind: str, asked: Iterable[Any], answers: Iterable[Any]) -> None:
        for each, answer in zip(asked, answers, strict=True):
            if not _drawn(kind, each):
                self._answers[_name(kind, each)] = answer

    def close(self) -> None:
        if not isinstance(self._answers, dict):
            self._answers.close()


def _drawn(kind: str, asked: Any) -> bool:
    """Whether chance has a part in the answer: then it isn't kept, or all repetitions would be the same."""
    return kind == "generate_until" and bool(asked[1].get("do_sample"))


def _name(kind: str, asked: Any) -> str:
    from lm_eval.api.model import hash_args

    return str(hash_args(kind, asked))


def batches(groups: Iterable[tuple[int, Group]], most: Callable[[int], int]) -> list[list[Group]]:
    """Groups in their order, together.

    Args:
        groups: the length of each prompt, and its requests; the longest first.
        most: how many prompts of a length fit into one batch.
    """
    found: list[list[Group]] = []
    room = 0
    for length, group in groups:
        if room == 0:
            found.append([])
            room = max(1, most(length))  # the first of a batch is its longest
        found[-1].append(group)
        room -= 1
    return found


def answer_all(kept: AnswerCache, kind: str, asked: Sequence[Any], made: Sequence[list[Group]],
               compute: Callable[[list[Group]], list[Any]], tell: Tell) -> list[Any]:
    """The answers to all requests, in their order; each batch is kept as soon as it is there.

    Args:
        kind: lm_eval's name of what is asked.
        made: the batches.
        compute: gives the answers of a batch, in the order of its groups.
    """
    answers: list[Any] = [None] * len(asked)
    left = []
    for batch in made:
        numbers = [number for group in batch for number in group]
        known = kept.find(kind, [asked[number] for number in numbers])
        if known is None:
            left.append((batch, numbers))
        else:
            for number, answer in zip(numbers, known, strict=True):
                answers[number] = answer
    total = sum(len(batch) for batch, _ in left)
    before, done = sum(map(len, made)) - total, 0
    for batch, numbers in left:
        tell(done, total, before)
        found = compute(batch)
        kept.keep(kind, [asked[number] for number in numbers], found)
        for number, answer in zip(numbers, found, strict=True):
            answers[number] = answer
        done += len(batch)
    return answers


GPU_ROWS = 16
"""At most. On the processor rows are computed one by one: prompts of benchmarks are long, padding costs as much as it
saves, and each number is then the same whatever else is in the batch."""
MAX_GEN_TOKS = 256


def harness_model(model: Model, name: str, tell: Tell, cache: str | None = None, rows: int | None = None) -> Any:
    """An `lm_eval.api.model.LM` around a loaded model. It keeps its answers itself; lm_eval must not.

    Args:
        cache: the file that its answers are kept in.
        rows: prompts of one batch at most.
    """
    kept = AnswerCache(cache)
    if isinstance(model, TorchModel):
        return _Torch(model, name, tell, kept, rows or (1 if model.model.device.type == "cpu" else GPU_ROWS))
    return _Llama(model, name, tell, kept)


class _Torch(HFLM):  # type: ignore[misc]
    def __init__(self, model: TorchModel, name: str, tell: Tell, kept: AnswerCache, rows: int):
        super().__init__(pretrained=model.model, tokenizer=model.tokenizer, batch_size=rows)
        self._name, self._report, self._kept, self._rows = name, tell, kept, rows
        self._memory, self._cache_bytes = model.memory, model.bytes_per_token
        # lm_eval asks for the logits of every token, and makes their logarithms beside them.
        words = int(model.model.config.get_text_config().vocab_size)
        self._token_bytes = model.bytes_per_token + 2 * words * model.model.dtype.itemsize

    def close(self) -> None:
        self._kept.close()

    # -- what lm_eval asks ------------------------------------------------------------------------

    def _loglikelihood_tokens(self, requests: Any, **options: Any) -> Any:
        if any(text is None for text, _, _ in requests):  # pieces of a whole text, which lm_eval puts together
            return self._likelihoods(requests, [[number] for number in range(len(requests))])
        groups: dict[tuple[int, ...], Group] = {}
        for number, (_, context, rest) in enumerate(requests):  # prompts that differ in the last token alone are one
            groups.setdefault((*context, *rest[:-1]), []).append(number)
        ordered = sorted(groups, key=lambda tokens: (-len(tokens), tokens))
        made = batches([(len(tokens), groups[tokens]) for tokens in ordered],
                       functools.partial(self._fit, token_bytes=self._token_bytes))
        return answer_all(self._kept, "loglikelihood", [text for text, _, _ in requests], made,
                          lambda batch: self._likelihoods(requests, batch), self._report)

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
        alike: dict[str, list[tuple[int, str, Group]]] = {}
        for number, request in enumerate(requests):
            text, settings = request.args
            alike.setdefault(json.dumps(settings, sort_keys=True), []).append(
                (-len(self.tok_encode(text)), text, [number]))
        made = []
        for members in alike.values():
            settings = normalize_gen_kwargs(dict(requests[members[0][2][0]].args[1]), self.max_gen_toks)
            most = int(settings["max_gen_toks"])
            fit = functools.partial(self._fit, token_bytes=self._cache_bytes, more=most)
            made += batches([(-length, group) for length, _, group in sorted(members)], fit)
        return answer_all(self._kept, "generate_until", [request.args for request in requests], made,
                          lambda batch: self._answers(requests, batch), self._report)

    # -- work -------------------------------------------------------------------------------------

    def _fit(self, length: int, token_bytes: int, more: int = 0) -> int:
        """Rows of a length, to which more tokens may come. What they may take was measured when the job began and is
        kept with it: batches of another size would give numbers that differ in the last bits."""
        return min(self._rows, self._memory // (min(length + more, self.max_length) * token_bytes))

    def _likelihoods(self, requests: Any, batch: list[Group]) -> list[Any]:
        def compute(numbers: list[int]) -> list[Any]:
            return list(HFLM._loglikelihood_tokens(self, [requests[number] for number in numbers], disable_tqdm=True))

        found = self._in_memory(batch, compute, lambda number: sum(map(len, requests[number][1:])))
        if any(math.isnan(value) for value, _ in found):
            raise self._broken()
        return found

    def _answers(self, requests: Any, batch: list[Group]) -> list[Any]:
        def compute(numbers: list[int]) -> list[Any]:
            return list(HFLM.generate_until(self, [requests[number] for number in numbers], disable_tqdm=True))

        return self._in_memory(batch, compute, lambda number: len(self.tok_encode(requests[number].args[0])))

    def _in_memory(self, batch: list[Group], compute: Callable[[list[int]], list[Any]],
                   length: Callable[[int], int]) -> list[Any]:
        """A batch that doesn't fit in memory is halved, as often as needed."""
        try:
            return compute([number for group in batch for number in group])
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise UserError(tr("The GPU has too little memory for the longest question of the benchmark with "
                                   "{model}.", model=self._name),
                                tr("With its examples, it has {tokens:,} tokens.", tokens=length(batch[0][0])),
                                tr("Ask with fewer examples (--shots), or in bf16 or fp16 (--precision), or close "
                                   "other programs. To use the processor instead, set CUDA_VISIBLE_DEVICES to "
                                   "-1.")) from None
        torch.cuda.empty_cache()
        middle = (len(batch) + 1) // 2
        return self._in_memory(batch[:middle], compute, length) + self._in_memory(batch[middle:], compute, length)

    def _model_generate(self, context: Any, max_length: int, stop: Any, **options: Any) -> Any:
        seen = _Broken()
        found = super()._model_generate(context, max_length, stop, logits_processor=LogitsProcessorList([seen]),
                                        **options)
        if bool(seen.broken):
            raise self._broken()
        return found

    def _broken(self) -> UserError:
        dtype = self._model.dtype
        precision = next((name for name, each in DTYPES.items() if each == dtype), str(dtype))
        if dtype == torch.float16:
            return no_number(self._name,
                             tr("It was computed in {precision}, whose largest number is 65,504. Models that were "
                                "trained in bf16 may need larger ones.", precision=precision),
                             tr("Choose bf16 or fp32 (--precision bf16)."))
        return no_number(self._name,
                         tr("It was computed in {precision}, which is precise enough: its weights are damaged, or its "
                            "training went wrong.", precision=precision),
                         tr("Choose another checkpoint, or import the model again."))


def no_number(name: str, why: str, remedy: str) -> UserError:
    """The highest of several NaN is the first: without this, every answer would be A."""
    return UserError(tr("{model} computed something that isn't a number (NaN).", model=name), why, remedy)


class _Broken(LogitsProcessor):
    """Looks whether all scores of a token are numbers, and leaves them as they are."""

    def __init__(self) -> None:
        self.broken: Any = False

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self.broken = scores.isnan().any() | self.broken  # stays on the GPU, which need not wait
        return scores


class _Llama(TemplateLM):  # type: ignore[misc]
    """A GGUF file. Tokens are made as llama-server makes them: with BOS where the file asks for it."""

    backend = "causal"

    def __init__(self, model: Any, name: str, tell: Tell, kept: AnswerCache):
        super().__init__()
        self._model, self._name, self._report, self._kept = model, name, tell, kept

    def close(self) -> None:
        self._kept.close()

    @property
    def eot_token_id(self) -> int:
        return int(self._model.end)

    @property
    def prefix_token_id(self) -> int:
        return int(self._model.prefix)

    @property
    def max_length(self) -> int:
        return int(self._model.context_length)

    @property
    def max_gen_toks(self) -> int:
        return MAX_GEN_TOKS

    @property
    def tokenizer_name(self) -> str:
        return ""

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **options: Any) -> list[int]:
        return list(self._model.encode(string) if add_special_tokens is False else self._model.served(string))

    def _loglikelihood_tokens(self, requests: Any, **options: Any) -> list[tuple[float, bool]]:
        """As HFLM does: prompts that are too long lose their beginning. Continuations of one prompt are read together.

        Whether a continuation is the likeliest isn't computed; tasks that ask for that have no place here.
        """
        groups: dict[tuple[int, ...], Group] = {}
        for number, (_, context, rest) in enumerate(requests):
            room = self.max_length - len(rest)
            groups.setdefault(tuple(context[-room:]), []).append(number)
        prompts = {members[0]: context for context, members in groups.items()}

        def compute(batch: list[Group]) -> list[tuple[float, bool]]:
            [members] = batch
            ask = Ask(list(prompts[members[0]]), tuple(requests[number][2] for number in members))
            [reply] = self._model.run([ask], lambda share: None)
            if reply.broken:
                raise no_number(self._name, "", tr("Export it again."))
            return [(value, False) for value in reply.logprobs]

        return answer_all(self._kept, "loglikelihood", [text for text, _, _ in requests],
                          [[members] for members in groups.values()], compute, self._report)

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        return answer_all(self._kept, "generate_until", [request.args for request in requests],
                          [[[number]] for number in range(len(requests))],
                          lambda batch: [self._write(*requests[batch[0][0]].args)], self._report)

    def _write(self, text: str, given: dict[str, Any]) -> str:
        settings = normalize_gen_kwargs(given, self.max_gen_toks)
        stops = handle_stop_sequences(settings.get("until"), eos=None)
        most = min(int(settings["max_gen_toks"]), self.max_length - 1)
        prompt = self.tok_encode(text)[-(self.max_length - most):]
        answer = ""
        for ids in self._model.grow(prompt, most):
            answer = self._model.decode(ids)
            if any(stop in answer for stop in stops):
                break
        return str(postprocess_generated_text(generation=answer, stop=stops, think_end_token=None))

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        raise UserError(tr("This benchmark can't be run on a GGUF file."),
                        tr("It asks for the likelihood of whole texts."), tr("Choose the model folder instead."))
