"""Proves that a GGUF answers like the trained model: same tokens, prompt, weights, logits and end.

Request: {"kind": "parity", "gguf": path, "run": run folder or model folder}.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core import files, formats, llama
from slmstudio.core.errors import UserError
from slmstudio.core.export import proof
from slmstudio.core.export.proof import end_figure
from slmstudio.core.export.types import QUANT_TYPES, QuantType
from slmstudio.core.i18n import ntr, tr
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.model.llama_gguf import LlamaVocab
from slmstudio.worker.parity import weights
from slmstudio.worker.parity.llama_file import LlamaFile, compare_on_card, pages_released
from slmstudio.worker.parity.reference import Prompt, Reference, Row, measure
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.runtime.cooling import cooled

# -- Whether llama.cpp makes of text what training made of it: tokens, rendered prompts, BOS, and the end of a turn.

GENERATED_TOKENS = 8


def compare_tokens(reference: Reference, vocab: LlamaVocab) -> dict[str, Any]:
    """
    Returns:
        `{"texts", "token_ids_equal", "token_ids_differ", "token_ids_example", "token_ids_own_differ", "cuts_nearly",
        "prompts", "user_prompts", "user_conversations", "prompts_equal", "prompts_differ", "one_bos", "normalizer"}`;
        texts are the prompts, the fixed texts as they are, and the user's own conversations with their answers.
    """
    other_ids, other_text, other_bos = [], 0, 0
    for prompt in reference.prompts:
        rendered = _rendered(vocab, prompt)
        other_text += rendered != prompt.text
        if vocab.encode(prompt.text) != prompt.ids:
            other_ids.append(prompt.messages[-1]["content"])
        served = vocab.served(prompt.text if rendered is None else rendered)
        other_bos += _leading(served, reference.bos) != _leading(prompt.ids, reference.bos)
    own = reference.prompts[len(reference.prompts) - reference.user_rows:]
    other_whole = [text for text, ids in reference.conversations if vocab.encode(text) != ids]
    other_own = sum(vocab.encode(prompt.text) != prompt.ids for prompt in own) + len(other_whole)
    other_ids += [text for text, ids in reference.texts if vocab.encode(text) != ids] + other_whole
    texts = len(reference.prompts) + len(reference.texts) + len(reference.conversations)
    return {"texts": texts, "token_ids_equal": not other_ids,
            "token_ids_differ": len(other_ids), "token_ids_example": other_ids[:1],
            "token_ids_own_differ": other_own, "cuts_nearly": vocab.cuts_nearly,
            "prompts": len(reference.prompts), "user_prompts": reference.user_rows,
            "user_conversations": len(reference.conversations), "prompts_equal": not other_text,
            "prompts_differ": other_text, "one_bos": not other_bos, "normalizer": vocab.normalizer}


def _rendered(vocab: LlamaVocab, prompt: Prompt) -> str | None:
    if vocab.template is None:
        return prompt.text
    try:
        return vocab.template.render(prompt.messages, add_generation_prompt=True)
    except UserError:  # it took the conversation in training
        return None


def _leading(ids: list[int], bos: int | None) -> int:
    count = 0
    while count < len(ids) and ids[count] == bos:
        count += 1
    return count


def compare_end(reference: Reference, vocab: LlamaVocab, file: LlamaFile) -> dict[str, Any]:
    """Whether the file names the token that ends a turn, and whether a generation really ends there.

    Returns:
        `{"stops_at_end_of_turn", "stop_figure": in words, "generated": token ids or None}`.
    """
    wrong = _wrong_end(reference, vocab)
    row = _ending_row(reference)
    generated = None
    if not wrong and row is not None:
        generated = file.greedy(row.ids[:-1], GENERATED_TOKENS, vocab.ends)
        if not vocab.ends(generated[-1]):
            wrong = ntr("an answer continued for {n} token where the model ends it",
                        "an answer continued for {n} tokens where the model ends it", len(generated))
    found = {"stops_at_end_of_turn": not wrong, "stop_figure": wrong, "generated": generated}
    return {**found, "stop_figure": end_figure(found)}


def _wrong_end(reference: Reference, vocab: LlamaVocab) -> str:
    end, named = reference.end_of_turn, vocab.named_ends()
    if end is not None and not vocab.ends(end):
        return tr("{token} doesn't end it", token=vocab.text(end))
    if end is not None and end not in named:
        return tr("the file doesn't name {token} as an end", token=vocab.text(end))
    if foreign := named - reference.ends:
        return tr("it would end at {token!r}", token=vocab.text(min(foreign)))
    return ""


def _ending_row(reference: Reference) -> Row | None:
    """The row that the model itself would end where it ends, as sure as possible; None if there is none."""
    best, found = 0.0, None
    for row in reference.rows:
        if row.ids[-1] != reference.end_of_turn:
            continue
        logits = row.logits[-1]
        others = logits.copy()
        others[reference.end_of_turn] = float("-inf")
        lead = float(logits[reference.end_of_turn] - others.max())
        if lead > best:
            best, found = lead, row
    return found


# -- How far a GGUF's predictions are from the fine-tuned model's, where answers are predicted.

NEAR_TIE = 0.01
"""Two choices whose logits differ by less than this share of the logits' spread: F16 arithmetic alone swaps them."""
REROUTED, REROUTED_SHARE = 1000.0, 0.02
"""Where a router's two experts are nearly equal, rounding alone chooses the other one, and all logits there differ: by
this many times as much as usual, at not more than this share of the positions."""


@dataclass
class _Sums:
    errors: list[float] = field(default_factory=list)
    powers: list[float] = field(default_factory=list)
    equal: int = 0
    near: int = 0
    divergence: float = 0.0

    def add(self, ours: Array, theirs: Array) -> tuple[Array, Array]:
        """Add one position; returns the logarithms of both probabilities, float64 (vocabulary,)."""
        first, second = int(ours.argmax()), int(theirs.argmax())
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        ours -= ours.mean()
        theirs -= theirs.mean()
        self.errors.append(float(np.square(ours - theirs).sum()))
        self.powers.append(float(np.square(ours).sum()))
        self.equal += first == second
        self.near += first != second and bool(ours[first] - ours[second] < NEAR_TIE * ours.std())
        ours -= _log_sum_exp(ours)
        theirs -= _log_sum_exp(theirs)
        self.divergence += float(np.exp(ours) @ (ours - theirs))
        return ours, theirs

    def nmse(self, experts: bool) -> tuple[float, int]:
        """The error, and at how many positions another expert was chosen, which don't count in it."""
        shares = np.array(self.errors) / self.powers
        order = np.argsort(shares)
        allowed = math.ceil(REROUTED_SHARE * len(order)) if experts else 0
        left_out = [at for at in order[len(order) - allowed:] if shares[at] > REROUTED * np.median(shares)]
        kept = np.setdiff1d(order, left_out)
        return float(np.take(self.errors, kept).sum() / np.take(self.powers, kept).sum()), len(left_out)


def compare_logits(job: JobContext, reference: Reference, file: LlamaFile) -> dict[str, Any]:
    """Teacher-forced, position by position.

    NMSE = Σ(a - b)² / Σa² over the whole vocabulary, where each position's mean is taken off first: softmax doesn't
    see it, and a large common offset would hide differences. KL divergence: mean of Σ p·ln(p/q), p the fine-tuned
    model's. Perplexity: exp of the mean of -ln p(right token), over the user's rows where there are any.

    In a model with experts, positions at which another expert was chosen don't count in NMSE (`REROUTED`).

    Returns:
        `{"positions", "nmse", "rerouted", "top1", "near_ties", "kl", "perplexity_reference", "perplexity",
        "perplexity_change", "perplexity_positions"}`, the figures None if no row was measured.
    """
    sums = _Sums()
    losses: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for row in reference.rows:
        job.check_cancelled()
        targets = row.ids[row.answer + 1:]
        for ours, theirs, target in zip(row.logits, file.after(row.ids[:-1], row.answer), targets, strict=True):
            size = min(len(ours), len(theirs))  # either may have rows for tokens that don't exist
            known, found = sums.add(ours[:size], theirs[:size])
            losses[row.own].append((-known[target], -found[target]))
    counted = losses[True] or losses[False]
    if not counted:
        names = ("nmse", "top1", "near_ties", "kl", "perplexity_reference", "perplexity", "perplexity_change")
        return {"positions": 0, "rerouted": 0, **dict.fromkeys(names), "perplexity_positions": 0}
    ours, theirs = (float(np.mean(column)) for column in zip(*counted, strict=True))
    nmse, rerouted = sums.nmse("expert_count" in reference.settings)
    positions = len(sums.errors)
    return {"positions": positions, "nmse": nmse, "rerouted": rerouted, "top1": sums.equal / positions,
            "near_ties": sums.near, "kl": max(0.0, sums.divergence / positions),
            "perplexity_reference": _exp(ours), "perplexity": _exp(theirs),
            "perplexity_change": _exp(theirs - ours) - 1, "perplexity_positions": len(counted)}


def _log_sum_exp(values: Array) -> float:
    most = values.max()
    return float(most + np.log(np.exp(values - most).sum()))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        What `compare` returns. The caller stores it beside the file, where this process may not write.

    Raises:
        UserError: the file can't be loaded, the run has nothing to compare it with, or there is no chat engine.
    """
    from slmstudio.core.model.facts import read_model
    from slmstudio.core.model.gguf.model import read_sound_gguf
    from slmstudio.worker.model.export_source import Source, in_full_precision

    llama.need()
    gguf = Path(job.request["gguf"])
    read_sound_gguf(gguf)  # says in words what is wrong with a file
    source = Source.of(Path(job.request["run"]))
    source, _ = in_full_precision(source, read_model(source.base))
    with cooled(job, "proof", on_cpu=True):
        job.phase("checking", tr("what was trained"))
        reference = measure(job, source)
        job.phase("checking", gguf.name)
        return compare(job, reference, gguf, None)


def compare(job: JobContext, reference: Reference, gguf: Path, kind: QuantType | None) -> dict[str, Any]:
    """Compare a GGUF with the fine-tuned model.

    Args:
        kind: its quantization type; None reads it from the file.

    Returns:
        `{"format", "passed", "verdict", "failures": [sentence], "checks": [`proof.Check`], "type", "sha256"}`
        and the figures of `compare_tokens`, `compare_end`, `compare_logits` and `compare_weights`.

    Raises:
        UserError: the file can't be loaded or run.
    """
    with pages_released(gguf):
        found, metadata = _compare(job, reference, gguf)
    ftype = int(metadata.get("general.file_type", -1))
    kind = kind or next((known for known in QUANT_TYPES if known.ftype == ftype), None)
    return {**formats.stamp("parity"), **proof.judged(found, kind), **found,
            "type": kind.name if kind else tr("file type {number}", number=ftype), "sha256": files.sha256_of(gguf)}


def _compare(job: JobContext, reference: Reference, gguf: Path) -> tuple[dict[str, Any], dict[str, str]]:
    longest = max((len(row.ids) for row in reference.rows), default=1)
    file = LlamaFile(gguf, longest + GENERATED_TOKENS)
    try:
        vocab = LlamaVocab(file)
        found = compare_tokens(reference, vocab)
        job.check_cancelled()
        found |= compare_logits(job, reference, file)
        found |= compare_end(reference, vocab, file)
        found |= compare_on_card(job, reference.rows, gguf, file, _Sums())
        found |= weights.compare_weights(reference, gguf, file.metadata, vocab.text)
    finally:
        file.close()
    return found, file.metadata
