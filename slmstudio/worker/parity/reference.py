"""What the fine-tuned model itself does, in float32: the measure that a GGUF is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from slmstudio.core.i18n import tr
from slmstudio.core.model.structure.settings import EXPERT_COUNTS
from slmstudio.worker.model import gguf_vocabulary
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.model.gguf_vocabulary import Vocabulary
from slmstudio.worker.parity.reference_rows import Messages, Prompt, Renderer, Span, chosen, conversations, own_rows
from slmstudio.worker.runtime.context import JobContext

if TYPE_CHECKING:
    from slmstudio.worker.model.streamed_model import StreamedModel

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
