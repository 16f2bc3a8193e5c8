"""What the fine-tuned model itself does, in float32: the measure that a GGUF is held against."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmstudio.core import files, jobs, paths
from slmstudio.core.data.reader import Record, read_as
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.model_settings import EXPERT_COUNTS
from slmstudio.core.run import curves
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import run_rows
from slmstudio.core.run.rows.run_rows import EVALUATION, TRAIN
from slmstudio.worker.model import gguf_vocabulary
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.model.gguf_vocabulary import Vocabulary
from slmstudio.worker.runtime.context import JobContext

if TYPE_CHECKING:
    from slmstudio.worker.model.streamed_model import StreamedModel

# -- The conversations that a proof is made of: what the tokenizer makes of each, and which tokens answer.

Messages = list[dict[str, str]]
BEFORE, AFTER = 96, 96
"""Tokens of a long row that are kept in front of its last answer, and of the answer."""
LEAST_POSITIONS = 100
"""So that one of them is at most a hundredth."""
HEAD_BYTES = 4 * 2**20
"""The proof takes its rows from the first part of a dataset; a large one isn't read whole."""


@dataclass(frozen=True)
class Prompt:
    """A conversation up to the assistant's turn: its text and ids as training makes them.

    The text has in front what the tokenizer itself puts there (`Vocabulary.lead`).
    """

    messages: Messages
    text: str
    ids: list[int]


@dataclass(frozen=True)
class Span:
    """Tokens of a whole conversation, or of the part around its last answer.

    Attributes:
        answer: the first position that predicts a token of the answer; what comes before is given.
    """

    ids: list[int]
    answer: int
    own: bool

    @property
    def positions(self) -> list[int]:
        """Where a token of the answer is predicted: all of them are known, so that each has a likelihood."""
        return list(range(self.answer, len(self.ids) - 1))


class Renderer:
    """A model folder's tokenizer, as transformers has it, and the run's chat template."""

    def __init__(self, base: Path, vocabulary: Vocabulary):
        from transformers import PreTrainedTokenizerFast

        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(base, local_files_only=True)
        self._template, self._lead = vocabulary.template, vocabulary.lead()
        end = vocabulary.end_of_turn()
        self.end_of_turn = vocabulary.special[end] if end else None

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, messages: Messages, prompt: bool) -> str | None:
        """None if the template doesn't take the conversation."""
        if self._template is None:
            return "\n".join(message["content"] for message in messages)
        with contextlib.suppress(UserError):
            return self._template.render(messages, prompt)
        return None

    def prompt(self, messages: Messages) -> Prompt | None:
        text = self.text(messages, prompt=True)
        return Prompt(messages, self._lead + text, self.ids(text)) if text else None

    def conversation(self, messages: Messages) -> tuple[str, list[int]] | None:
        """All of it, the answers too: text, with what the tokenizer puts in front, and ids."""
        text = self.text(messages, prompt=False)
        return (self._lead + text, self.ids(text)) if text else None

    def span(self, messages: Messages, own: bool) -> Span | None:
        """None if the template doesn't take the conversation, or nothing is answered."""
        text, prompt = self.text(messages, prompt=False), self.text(messages[:-1], prompt=True)
        if not text:
            return None
        ids = self.ids(text)
        answer = len(self.ids(prompt)) - 1 if prompt and text.startswith(prompt) else 0
        if self.end_of_turn in ids[answer + 1:]:
            ids = ids[:len(ids) - ids[::-1].index(self.end_of_turn)]  # the template's line break behind it isn't said
        start = max(0, answer - BEFORE)
        kept = ids[start:answer + 1 + AFTER]
        if start and ids[0] == self.tokenizer.bos_token_id:
            kept[0] = ids[0]  # models lean on their first token
        answer -= start
        return Span(kept, max(0, answer), own) if answer < len(kept) - 1 else None


def conversations() -> list[Messages]:
    """Our own, in several scripts: for a run without rows, and beside those of every other."""
    with open(paths.resources() / "parity" / "conversations.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def own_rows(job: JobContext, source: Any) -> list[Messages]:
    """The user's rows of an `export.Source`: those held out of training before those that were learned."""
    return [_messages_of(record) for record in _kept(job, source.folder) or _of_files(job, source)]


def _kept(job: JobContext, run: Path) -> list[Record]:
    try:
        if run_rows.read_manifest(run) is not None:
            return [record for side in (EVALUATION, TRAIN) for record in run_rows.head(run, side, HEAD_BYTES)]
    except UserError as error:
        job.log(f"the run's own rows are read from their file: {error}")
    return []


def _of_files(job: JobContext, source: Any) -> list[Record]:
    """The first rows of the files that the run names, of the first that can be read."""
    for path in source.rows:
        try:
            head = path
            if path.stat().st_size > HEAD_BYTES:
                head = job.folder / f"rows{path.suffix}"
                with open(path, "rb", opener=files.regular) as file:
                    files.write_atomically(head, file.read(HEAD_BYTES).rpartition(b"\n")[0] + b"\n")
            return _rows_of(source.folder, path, head)
        except (UserError, OSError) as error:
            job.log(f"no rows for the proof from {path.name}: {error}")
    return []


def _rows_of(folder: Path, path: Path, head: Path) -> list[Record]:
    """The rows of a file of the run, or of its `head`, those first that the run has split off for its evaluation."""
    state = files.read_json(folder / jobs.RUN)
    if state is None:
        return read_as(head, None).records
    config = RunConfig.from_dict(state)
    is_trained_on = Path(config.train_file) == path
    records = read_as(head, config.train_map if is_trained_on else config.eval_map).records
    if config.eval_file or not is_trained_on:
        return records
    learned, held_out = curves.divided(records, config)
    return [*held_out, *learned]


def _messages_of(record: Record) -> Messages:
    """The row as a conversation; of plain text the first half asks and the second answers, so that it is probed too."""
    if record.text is None:
        return [dict(message) for message in record.messages]
    half = len(record.text) // 2
    return [{"role": "user", "content": record.text[:half]}, {"role": "assistant", "content": record.text[half:]}]


def chosen(spans: Iterable[Span], most_tokens: int, most_positions: int) -> list[Span]:
    """The first of them, as far as they fit: rows run side by side, so that the longest counts for all of them.

    Until there are `LEAST_POSITIONS`, twice as many tokens are allowed.
    """
    found: list[Span] = []
    longest = positions = 0
    for span in spans:
        room = most_tokens if positions >= LEAST_POSITIONS else 2 * most_tokens
        if found and (len(found) + 1) * longest > room:
            break
        wide = max(longest, len(span.ids))
        if found and (len(found) + 1) * wide > room:
            continue
        kept = Span(span.ids[:span.answer + 1 + most_positions - positions], span.answer, span.own)
        found.append(kept)
        longest, positions = max(longest, len(kept.ids)), positions + len(kept.positions)
        if positions >= most_positions:
            break
    return found


MAX_POSITIONS = 1024
MAX_LOGIT_BYTES = 128 * 2**20
MAX_OPERATIONS = 0.8e12
"""About 5 s on two cores. It bounds the tokens that are computed, within `TOKENS`."""
TOKENS = (256, 2048)
USER_PROMPTS, USER_ROWS = 40, 200
USER_CONVERSATIONS = 2000
"""Rows whose tokens alone are compared, prompts and answers: 5 s for 3 MB of text, and 2 s more for each file."""
LAYER_ROWS, LAYER_INPUTS = 64, 8


@dataclass(frozen=True)
class Row:
    """A conversation that was run.

    Attributes:
        answer: the first position that predicts a token of the last answer.
        logits: of the next token at every position from `answer` to the last but one, float32 (positions, vocabulary).
    """

    ids: list[int]
    answer: int
    own: bool
    logits: Array


@dataclass(frozen=True)
class Table:
    """The embeddings or the head as trained: `rows(start, stop)` gives them in float32."""

    shape: tuple[int, ...]
    rows: Callable[[int, int], Array]


@dataclass(frozen=True)
class Layer:
    """What a linear layer makes of `layer_inputs(width)`, in some of its rows.

    Attributes:
        rows: numbers of the output values that were kept.
        base: float32 (inputs, rows), by the base's weights alone; `tuned`: with what was learned. Without the bias.
    """

    width: int
    height: int
    rows: list[int]
    base: Array
    tuned: Array


@dataclass(frozen=True)
class Reference:
    """Everything a GGUF is compared with.

    Attributes:
        prompts: the fixed texts and the user's prompts, each in the chat template.
        texts: the fixed texts as they are, behind a token that can't be part of a word: text and ids.
        end_of_turn: id of the token behind an assistant's words; None if the template writes none.
        ends: ids at which generation may stop: special tokens.
        bos: id of the beginning-of-sequence token; None if there is none.
        user_rows: how many of the prompts are the user's own.
        conversations: the user's own with their answers: text and ids.
        rows: with their logits; empty if the model couldn't be run.
        tables: by the GGUF's name of the tensor.
        layers: by the base's name of the weight.
        settings: numbers of the architecture, by the GGUF's key without the architecture's name.
    """

    prompts: list[Prompt]
    texts: list[tuple[str, list[int]]]
    end_of_turn: int | None
    ends: frozenset[int]
    bos: int | None
    user_rows: int
    conversations: list[tuple[str, list[int]]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    settings: dict[str, float] = field(default_factory=dict)


def measure(job: JobContext, source: Any) -> Reference:
    """Render, tokenize and run the fine-tuned model of an `export.Source`, base and adapter unmerged.

    PEFT applies the adapter here, the export's own code in the GGUF, so that a fault in either shows.

    Raises:
        UserError: the base model or the adapter can't be read, or don't belong together.
    """
    from slmstudio.worker.model.streamed_model import NotStreamable, StreamedModel

    vocabulary = Vocabulary.of(source.base, source.adapter)
    renderer = Renderer(source.base, vocabulary)
    own = own_rows(job, source)
    known = _tokens(renderer, vocabulary, own)
    job.check_cancelled()
    try:
        model = StreamedModel(source.base, source.adapter)
    except NotStreamable as error:
        job.warn("parity_logits", tr("The answers aren't compared, only the tokens: {reason}.", reason=error))
        return known
    conversations_ = chain(((row, True) for row in own[:USER_ROWS]), ((row, False) for row in conversations()))
    spans = (renderer.span(messages, is_own) for messages, is_own in conversations_)
    return replace(known, **_run(job, model, chosen(filter(None, spans), *_limits(model))))


def _tokens(renderer: Renderer, vocabulary: Vocabulary, own: list[Messages]) -> Reference:
    fixed = (*gguf_vocabulary.strings(), *gguf_vocabulary.around(vocabulary.added))
    prompts = [renderer.prompt([{"role": "user", "content": text}]) for text in fixed]
    asked = list(filter(None, (renderer.prompt(row[:-1]) for row in own[:USER_PROMPTS])))
    in_front = vocabulary.boundary()
    texts = [(in_front + text, renderer.ids(in_front + text)) for text in fixed]
    whole = list(filter(None, map(renderer.conversation, own[:USER_CONVERSATIONS])))
    ends = frozenset(vocabulary.special.values())
    return Reference([*filter(None, prompts), *asked], texts, renderer.end_of_turn, ends,
                     renderer.tokenizer.bos_token_id, len(asked), whole)


def _limits(model: StreamedModel) -> tuple[int, int]:
    """How many tokens are run at most, and at how many positions the logits are kept."""
    vocabulary = model.table(head=True)[0][0]
    operations = 2 * max(1, model.layer_parameters)
    most = int(MAX_OPERATIONS / operations)
    return min(max(most, TOKENS[0]), TOKENS[1]), min(MAX_POSITIONS, MAX_LOGIT_BYTES // (4 * vocabulary))


def _run(job: JobContext, model: StreamedModel, spans: list[Span]) -> dict[str, Any]:
    """The fields of a `Reference` for which the model must work."""
    layers: dict[str, Layer] = {}

    def look(name: str, outer: Any, inner: Any) -> None:
        job.check_cancelled()
        layers[name] = _layer(outer, inner)
        job.progress(len(layers), model.linear_layers, "layers", "checking")

    places = [(number, at) for number, span in enumerate(spans) for at in span.positions]
    logits = model.logits([span.ids for span in spans], places, look)
    rows, begin = [], 0
    for span in spans:
        end = begin + len(span.positions)
        rows.append(Row(span.ids, span.answer, span.own, logits[begin:end]))
        begin = end
    tables = {"token_embd.weight": Table(*model.table(head=False))}
    if not model.tied:
        tables["output.weight"] = Table(*model.table(head=True))
    return {"rows": rows, "layers": layers, "tables": tables, "settings": _settings(model.config)}


def layer_inputs(width: int) -> Array:
    """The same random inputs for every layer of that width: float32 (inputs, width)."""
    return np.random.default_rng(width).standard_normal((LAYER_INPUTS, width), np.float32)


def _layer(outer: Any, inner: Any) -> Layer:
    """Ask PEFT's layer, and the base's inside it, for their answers."""
    import torch

    height, width = inner.weight.shape
    rows = np.unique(np.linspace(0, height - 1, LAYER_ROWS).astype(int))
    inputs = torch.from_numpy(layer_inputs(width))
    bias = 0 if inner.bias is None else inner.bias
    base, tuned = ((module.forward(inputs) - bias)[:, rows].numpy() for module in (inner, outer))
    return Layer(width, height, rows.tolist(), base, tuned)


def _settings(config: Any) -> dict[str, float]:
    """Numbers that a GGUF repeats, where this architecture has them."""
    rope = getattr(config, "rope_parameters", None) or {}
    found = {
        "block_count": getattr(config, "num_hidden_layers", None),
        "embedding_length": getattr(config, "hidden_size", None),
        "attention.head_count": getattr(config, "num_attention_heads", None),
        "attention.head_count_kv": getattr(config, "num_key_value_heads", None),
        "attention.layer_norm_rms_epsilon": getattr(config, "rms_norm_eps", None),
        "expert_count": next((count for name in EXPERT_COUNTS if (count := getattr(config, name, None))), None),
        "rope.freq_base": rope.get("rope_theta") or getattr(config, "rope_theta", None),
    }
    return {key: float(value) for key, value in found.items() if isinstance(value, (int, float))}
