"""Our loaded models as lm_eval sees them: its own class for model folders, so that its numbers are its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text

from slmstudio.core.errors import UserError
from slmstudio.worker.evaluate_rows import Ask, Model
from slmstudio.worker.evaluate_torch import TorchModel

Tell = Callable[[int, int], None]
"""Called with rows done and rows in all; raises when the user cancels."""

GPU_ROWS = 16
"""On the processor rows are computed one by one: prompts of benchmarks are long, padding costs as much as it saves, and
each number is then the same in whatever company, so that a benchmark that was killed ends as one that was not."""
MAX_GEN_TOKS = 256


def harness_model(model: Model, tell: Tell) -> Any:
    """An `lm_eval.api.model.LM` around a loaded model."""
    if isinstance(model, TorchModel):
        return _Torch(model, tell)
    return _Llama(model, tell)


class _Torch(HFLM):  # type: ignore[misc]
    def __init__(self, model: TorchModel, tell: Tell):
        rows = 1 if model.model.device.type == "cpu" else GPU_ROWS
        super().__init__(pretrained=model.model, tokenizer=model.tokenizer, batch_size=rows)
        self._tell, self._done, self._total = tell, 0, 0

    def _loglikelihood_tokens(self, requests: Any, **options: Any) -> Any:
        # lm_eval computes prompts that differ in the last token alone once.
        self._done, self._total = 0, len({(*context, *rest[:-1]) for _, context, rest in requests})
        return super()._loglikelihood_tokens(requests, **options)

    def _model_call(self, inps: Any, **options: Any) -> Any:
        self._step(len(inps))
        return super()._model_call(inps, **options)

    def generate_until(self, requests: Any, **options: Any) -> Any:
        self._done, self._total = 0, len(requests)
        return super().generate_until(requests, **options)

    def _model_generate(self, context: Any, max_length: int, stop: Any, **options: Any) -> Any:
        self._step(len(context))
        return super()._model_generate(context, max_length, stop, **options)

    def _step(self, rows: int) -> None:
        self._tell(min(self._done, self._total), self._total)
        self._done += rows


class _Llama(TemplateLM):  # type: ignore[misc]
    """A GGUF file. Tokens are made as llama-server makes them: with BOS where the file asks for it."""

    backend = "causal"

    def __init__(self, model: Any, tell: Tell):
        super().__init__()
        self._model, self._tell = model, tell

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

        Whether a continuation is the likeliest is not computed; tasks that ask for that have no place here.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, (_, context, rest) in enumerate(requests):
            room = self.max_length - len(rest)
            groups.setdefault(tuple(context[-room:]), []).append(number)
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for done, (context, members) in enumerate(groups.items()):
            self._tell(done, len(groups))
            ask = Ask(list(context), tuple(requests[number][2] for number in members))
            [reply] = self._model.run([ask], lambda share: None)
            if reply.broken:
                raise UserError("The model computed something that is no number (NaN).", "", "Export it again.")
            for number, value in zip(members, reply.logprobs, strict=True):
                found[number] = (value, False)
                self.cache_hook.add_partial("loglikelihood", requests[number][0], found[number])
        return found

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        found = []
        for done, request in enumerate(requests):
            self._tell(done, len(requests))
            text, given = request.args
            settings = normalize_gen_kwargs(given, self.max_gen_toks)
            stops = handle_stop_sequences(settings.get("until"), eos=None)
            most = min(int(settings["max_gen_toks"]), self.max_length - 1)
            prompt = self.tok_encode(text)[-(self.max_length - most):]
            answer = ""
            for ids in self._model.grow(prompt, most):
                answer = self._model.decode(ids)
                if any(stop in answer for stop in stops):
                    break
            found.append(postprocess_generated_text(generation=answer, stop=stops, think_end_token=None))
            self.cache_hook.add_partial("generate_until", request.args, found[-1])
        return found

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        raise UserError("This benchmark cannot be run on a GGUF file.", "It asks for the likelihood of whole texts.",
                        "Choose the model folder instead.")
