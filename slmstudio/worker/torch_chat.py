"""Chat with a model folder or a run: the commands and messages are those of `chat.service.ChatService.handle`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from tokenizers.decoders import DecodeStream
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from slmstudio.core import units
from slmstudio.core.chat import assistant, sampling
from slmstudio.core.chat.devices import Device
from slmstudio.core.chat.placement import Placement, Wish
from slmstudio.core.chat.sampling import Sampling
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.request import model_at, precision_of
from slmstudio.core.hardware.machine import read_gpus
from slmstudio.core.i18n import tr
from slmstudio.core.model.chat_template import ChatTemplate, find_template
from slmstudio.core.model.facts import ModelFacts, model_name, read_model
from slmstudio.core.model.named_templates import optional_template, template_of
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.memory.formula import four_bit_bytes
from slmstudio.worker.answering import model_loader
from slmstudio.worker.answering.rows import BROKEN
from slmstudio.worker.answering.torch_model import TorchModel, cached
from slmstudio.worker.gguf_chat.generation import common
from slmstudio.worker.gguf_chat.service import DEFAULT_CONTEXT, ChatService, Loaded
from slmstudio.worker.runtime import threads
from slmstudio.worker.training.methods import DTYPES

# -- A model folder, or a run's adapter on its base, that has a conversation in its memory.

BATCH_TOKENS = 512
"""A prompt is read in parts of this many tokens; between them the user can stop it."""


class FolderVocab:
    """A model's tokens and its chat template.

    Attributes:
        template: None if it has none: the model continues a text then.
    """

    is_sentencepiece = False  # its decoder takes off the space at the start by itself

    def __init__(self, model: TorchModel, template: ChatTemplate | None):
        self._model, self.template = model, template
        self.begin()

    def begin(self) -> None:
        """What comes now is a new answer."""
        self._stream = DecodeStream(skip_special_tokens=True)

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Ids of a conversation up to where the answer begins. Raises UserError as `ChatTemplate.render`."""
        assert self.template is not None
        return self._model.encode(self.template.render(self._model.marked(messages), add_generation_prompt=True))

    def served(self, text: str) -> list[int]:
        """Ids of a bare text that the model is to continue, with what its tokenizer puts before each."""
        return list(self._model.tokenizer(text)["input_ids"])

    def ends(self, token: int) -> bool:
        return self._model.is_end(token)

    def piece(self, token: int) -> bytes:
        """The text that is complete with the next token of an answer, in UTF-8."""
        return (self._stream.step(self._model.tokenizer.backend_tokenizer, token) or "").encode("utf-8")


class FolderModel:
    """One model with one conversation in its memory.

    Args:
        context_length: tokens that a conversation may take.

    Attributes:
        tokens: what is in the memory now.
    """

    def __init__(self, model: TorchModel, context_length: int, template: ChatTemplate | None):
        self._model, self.context_length = model, context_length
        self.vocab = FolderVocab(model, template)
        self._giving_way = threads.GivingWay()
        self.forget()

    def close(self) -> None:
        self.forget()
        self._giving_way.close()
        self._model.close()

    def share_processor(self, busy: bool) -> None:
        """Take fewer threads while other work is on the machine, as `ChatModel.share_processor`."""
        import psutil

        cores = psutil.cpu_count(logical=False) or 1
        threads.use(cores // 2 if busy else cores)

    def forget(self) -> None:
        """Read the next prompt from its start."""
        self.tokens: list[int] = []
        self._cache = DynamicCache(config=self._model.model.config)
        self._logits = torch.empty(0)

    def read(self, prompt: Sequence[int], stopped: Callable[[], bool]) -> int:
        """Read a prompt, as far as it isn't remembered. Returns how many tokens were."""
        self.vocab.begin()
        same = self._keep_common(prompt)
        for start in range(same, len(prompt), BATCH_TOKENS):
            if stopped():
                break
            self._forward(prompt[start:start + BATCH_TOKENS])
        return same

    def _keep_common(self, prompt: Sequence[int]) -> int:
        same = common(self.tokens, prompt)
        if same < len(self.tokens):
            if all(type(layer) is DynamicLayer for layer in self._cache.layers):
                self._cache.crop(same - len(self.tokens))
                del self.tokens[same:]
            else:  # a window or a recurrent state can't forget only its end
                self.forget()
        return len(self.tokens)

    @torch.inference_mode()
    def _forward(self, tokens: Sequence[int]) -> None:
        """Read tokens; the logits behind the last of them are kept.

        Raises:
            UserError: memory is too short, or the model computes no numbers.
        """
        try:
            found = self._model.model(input_ids=self._model.tensor([tokens]), use_cache=True, logits_to_keep=1,
                                      **cached(self._model.model, self._cache))
        except torch.OutOfMemoryError as error:
            self.forget()
            raise UserError(tr("The GPU doesn't have enough memory for this conversation."), "",
                            tr("Start a new chat, choose a shorter context, or close other programs.")) from error
        self._logits = found.logits[:, -1].float()
        self.tokens += tokens
        if not bool(self._logits.isfinite().any()) or bool(self._logits.isnan().any()):
            raise UserError(tr(BROKEN), tr("The model's weights may be damaged."),
                            tr("Train it again with a lower learning rate."))

    def draw(self, settings: Sampling) -> Iterator[int]:
        """Tokens that follow what was read, without end. Each is read when the next one is asked for."""
        choose = _chooser(settings, self._logits.device)
        answer: list[int] = []
        while True:
            answer.append(choose(answer, self._logits))
            yield answer[-1]
            self._forward(answer[-1:])


def _chooser(settings: Sampling, device: torch.device) -> Callable[[Sequence[int], torch.Tensor], int]:
    """How the next token is chosen, in llama.cpp's order, as `sampling.Sampling` says."""
    penalty, warpers = LogitsProcessorList(), LogitsProcessorList()
    if settings.repeat_penalty != 1:
        penalty.append(RepetitionPenaltyLogitsProcessor(settings.repeat_penalty))
    if settings.top_k:
        warpers.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warpers.append(TopPLogitsWarper(settings.top_p))
    if settings.min_p:
        warpers.append(MinPLogitsWarper(settings.min_p))
    if settings.temperature:
        warpers.append(TemperatureLogitsWarper(settings.temperature))
    draw = torch.Generator(device).manual_seed(secrets.randbits(32) if settings.seed is None else settings.seed)

    def choose(answer: Sequence[int], logits: torch.Tensor) -> int:
        recent = torch.tensor([answer[-sampling.REPEAT_WINDOW:]], dtype=torch.long, device=device)
        scores = penalty(recent, logits)
        if settings.temperature == 0:
            return int(scores.argmax())
        return int(torch.multinomial(warpers(recent, scores).softmax(-1), 1, generator=draw))

    return choose


ROOM = 1.2
"""Weights, with what computing takes beside them."""


def create(emit: Callable[..., None]) -> ChatService:
    return ChatService(emit, load)


def load(message: dict[str, Any]) -> Loaded:
    """Load the result of a run on its base, its last checkpoint where it isn't finished, or a model folder.

    Raises:
        UserError: it can't be loaded, or doesn't fit in memory.
    """
    kept = assistant.of_model(Path(message["path"]))
    spec = ({"name": model_name(Path(kept.model["model"])), "adapter": None, **kept.model}
            if kept is not None and kept.model is not None else model_at(Path(message["path"]), unfinished=True))
    folder, adapter, packed = Path(spec["model"]), spec["adapter"], bool(spec.get("load_in_4bit"))
    facts = read_model(folder)
    run_folder.need_own_result(Path(adapter) if adapter else folder)
    device, precision, where = _place(facts, spec, Wish.of(message).device)
    if "checkpoint" in spec:
        where = " ".join((tr("The run isn't finished, so this is its checkpoint of step {step:,}.",
                             step=spec["checkpoint"]), where))
    dtype = DTYPES[precision]
    template = _template(folder, spec)
    try:
        model = model_loader.load(folder, dtype, device, packed)
        if adapter:
            model = model_loader.with_adapter(model, Path(adapter), merged=not packed)
    except torch.OutOfMemoryError as error:
        raise UserError(tr("{model} doesn't fit in the GPU's memory.", model=spec["name"]), "",
                        tr("Close other programs that use the GPU, or export the run and chat with a smaller GGUF "
                           "file.")) from error
    cards = tuple(Device("cuda", gpu.name) for gpu in read_gpus()[0][:1]) if device == "cuda" else ()
    loaded = TorchModel(model, folder, 0, template)
    wanted = message.get("context_length") or DEFAULT_CONTEXT
    length = min(wanted, loaded.context_length)
    return Loaded(FolderModel(loaded, length, template if template.source else None), spec["name"],
                  loaded.context_length, "4-bit" if packed else precision,
                  Placement(facts.layers, where, device, cards, (facts.layers,) * len(cards)))


def _template(folder: Path, spec: dict[str, Any]) -> ChatTemplate:
    name, adapter = spec.get("chat_template") or "", spec["adapter"]
    if adapter and find_template(Path(adapter)) is not None:
        return template_of(folder, name, adapter)
    return optional_template(folder, name)


def _place(facts: ModelFacts, spec: dict[str, Any], wish: str) -> tuple[str, str, str]:
    """The device, the number format, and a sentence about both."""
    gpus = read_gpus()[0] if model_loader.device_of(wish) == "cuda" else ()
    if gpus and (wish == "cuda" or run_folder.running() is None):
        precision = precision_of([spec], gpus[0])
        if _needed(facts, spec, precision) < torch.cuda.mem_get_info()[0]:
            return "cuda", precision, tr("On the {card}, in {precision}.", card=gpus[0].name, precision=precision)
    free = psutil.virtual_memory().available
    if _needed(facts, spec, "fp32") < free:
        return "cpu", "fp32", tr("On the processor.")
    if _needed(facts, spec, "bf16") < free:
        return "cpu", "bf16", tr("On the processor, in bf16 to save memory.")
    raise UserError(tr("{model} doesn't fit in memory.", model=spec["name"]),
                    tr("Its weights need about {needed}, and {free} is free.",
                       needed=units.format_bytes(_needed(facts, spec, "bf16")), free=units.format_bytes(free)),
                    tr("Close other programs, or export the run and chat with a GGUF file of a smaller quantization "
                       "type."))


def _needed(facts: ModelFacts, spec: dict[str, Any], precision: str) -> int:
    """Bytes that its weights take, with what computing takes beside them."""
    size = DTYPES[precision].itemsize
    return int((four_bit_bytes(facts, size) if spec.get("load_in_4bit") else facts.parameters * size) * ROOM)
