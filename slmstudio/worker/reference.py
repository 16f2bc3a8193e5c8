"""What the fine-tuned model itself does, in float32: the measure that a GGUF is held against."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core import files
from slmstudio.core.data.reader import Record, read_dataset
from slmstudio.core.errors import UserError
from slmstudio.core.words import format_bytes
from slmstudio.worker import probes
from slmstudio.worker.context import JobContext

Messages = list[dict[str, str]]
ROW_TOKENS = 192
MAX_POSITIONS, MIN_POSITIONS = 1024, 96
MAX_LOGIT_BYTES = 256 * 2**20
MAX_OPERATIONS = 2e12
MEMORY_FACTOR = 1.2
USER_PROMPTS = 40
HEAD_BYTES = 4 * 2**20
"""The proof takes its rows from the first part of a dataset; a large one is not read whole."""
CONVERSATIONS: tuple[Messages, ...] = (
    [{"role": "user", "content": "My order 4521 has not arrived. What can I do?"},
     {"role": "assistant", "content": "I am sorry. Please share your phone number and I will check order 4521."}],
    [{"role": "user", "content": "मेरा पासपोर्ट कब तक आएगा? आवेदन 12 मार्च को किया था।"},
     {"role": "assistant", "content": "सामान्य आवेदन में 30 दिन लगते हैं, इसलिए 11 अप्रैल तक आ जाना चाहिए।"}],
)


@dataclass(frozen=True)
class Prompt:
    """A conversation up to the assistant's turn: its text and ids as training makes them."""

    messages: Messages
    text: str
    ids: list[int]


@dataclass(frozen=True)
class Row:
    """A whole conversation.

    Attributes:
        ids: its tokens.
        answer: the first position that predicts a token of the last answer; what comes before is given.
        logits: of the next token at every position, float32 (tokens, vocabulary).
    """

    ids: list[int]
    answer: int
    logits: np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Reference:
    """Everything a GGUF is compared with.

    Attributes:
        end_of_turn: id of the token behind an assistant's words; None where the template writes none.
        bos: id of the beginning-of-sequence token; None where there is none.
        user_rows: how many of the prompts are the user's own.
    """

    prompts: list[Prompt]
    rows: list[Row]
    end_of_turn: int | None
    bos: int | None
    user_rows: int


def measure(job: JobContext, source: Any) -> Reference:
    """Render, tokenize and run the fine-tuned model of an `export.Source`, base and adapter unmerged.

    PEFT applies the adapter here, the export's own code in the GGUF, so that a fault in either shows.
    """
    from transformers import PreTrainedTokenizerFast

    from slmstudio.worker.gguf_vocabulary import Vocabulary

    tokenizer = PreTrainedTokenizerFast.from_pretrained(source.base, local_files_only=True)
    vocabulary = Vocabulary.of(source.base)
    own = [_messages_of(record) for record in _own_rows(job, source.rows)]

    def text_of(messages: Messages, prompt: bool) -> str | None:
        if vocabulary.template is None:
            return "\n".join(message["content"] for message in messages)
        with contextlib.suppress(Exception):  # templates refuse what they do not know, by an error of their own
            return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))
        return None

    def ids_of(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    asked = [[{"role": "user", "content": probe}] for probe in probes.PROBES]
    asked += [row[:-1] for row in own[:USER_PROMPTS]]
    prompts = [Prompt(messages, text, ids_of(text)) for messages in asked if (text := text_of(messages, True))]

    def row_of(messages: Messages) -> tuple[list[int], int] | None:
        text, prompt = text_of(messages, False), text_of(messages[:-1], True)
        if not text:
            return None
        ids = ids_of(text)[:ROW_TOKENS]
        begins = len(ids_of(prompt)) - 1 if prompt and text.startswith(prompt) else 0
        return (ids, begins) if begins < len(ids) - 1 else None

    rows = _forward(job, source, [row for row in map(row_of, (*CONVERSATIONS, *own)) if row])
    end = vocabulary.end_of_turn()
    return Reference(prompts, rows, vocabulary.special[end] if end else None, tokenizer.bos_token_id,
                     len(prompts) - len(probes.PROBES))


def _messages_of(record: Record) -> Messages:
    """The row as a conversation; of plain text the first half asks and the second answers, so that it is probed too."""
    if record.text is None:
        return list(record.messages)
    half = len(record.text) // 2
    return [{"role": "user", "content": record.text[:half]}, {"role": "assistant", "content": record.text[half:]}]


def _own_rows(job: JobContext, datasets: tuple[Path, ...]) -> list[Record]:
    """Rows of the first dataset that can be read, the held-out one before the learned one."""
    for path in datasets:
        try:
            head = path
            if path.stat().st_size > HEAD_BYTES:
                head = job.folder / f"rows{path.suffix}"
                with open(path, "rb") as file:
                    files.write_atomically(head, file.read(HEAD_BYTES).rpartition(b"\n")[0] + b"\n")
            return read_dataset(head).records
        except (UserError, OSError) as error:
            job.log(f"no rows for the proof from {path.name}: {error}")
    return []


def _forward(job: JobContext, source: Any, rows: list[tuple[list[int], int]]) -> list[Row]:
    """Logits of as many rows as time and memory allow: two at least, or none where the model itself does not fit."""
    import psutil
    import torch
    from transformers import AutoModelForCausalLM

    weights = sum(file.stat().st_size for file in source.base.glob("*.safetensors"))
    if weights * MEMORY_FACTOR > psutil.virtual_memory().available:
        need = format_bytes(weights * MEMORY_FACTOR)
        job.warn("parity_memory", f"Too little memory is free to compare the logits: {need} are needed.")
        return []
    model = AutoModelForCausalLM.from_pretrained(
        source.base, dtype="auto", use_safetensors=True, trust_remote_code=False, local_files_only=True)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if source.adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, source.adapter, local_files_only=True)
    model.eval()
    limit = min(MAX_POSITIONS, MAX_LOGIT_BYTES // (4 * model.config.vocab_size), int(MAX_OPERATIONS / (2 * parameters)))
    done: list[Row] = []
    with torch.inference_mode(), _in_float32(model):
        for ids, answer in rows:
            job.check_cancelled()
            if sum(len(row.ids) for row in done) + len(ids) > max(limit, MIN_POSITIONS) and len(done) >= 2:
                break
            done.append(Row(ids, answer, model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy()))
            job.progress(sum(len(row.ids) for row in done), limit, "tokens", "checking")
    return done


@contextlib.contextmanager
def _in_float32(model: Any) -> Iterator[None]:
    """Compute in float32 while the weights stay as they lie on disk: one layer at a time is widened.

    So an 8B model needs its 16 GB of bf16, most of it mapped from the file, and not 32 GB.
    """
    import torch

    layers = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) > 0)
    inside = {id(parameter) for parameter in layers.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in inside:
            parameter.data = parameter.data.float()
    narrow: dict[int, list[torch.Tensor]] = {}

    def widen(layer: torch.nn.Module, *_: Any) -> None:
        narrow[id(layer)] = [parameter.data for parameter in layer.parameters()]
        for parameter in layer.parameters():
            parameter.data = parameter.data.float()

    def restore(layer: torch.nn.Module, *_: Any) -> None:
        for parameter, data in zip(layer.parameters(), narrow.pop(id(layer)), strict=True):
            parameter.data = data

    hooks = [hook for layer in layers for hook in (layer.register_forward_pre_hook(widen),
                                                   layer.register_forward_hook(restore))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
