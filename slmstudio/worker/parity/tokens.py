"""Whether llama.cpp makes of text what training made of it: tokens, rendered prompts, BOS, and the end of a turn."""

from __future__ import annotations

from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.export.proof import end_figure
from slmstudio.core.i18n import ntr, tr
from slmstudio.worker.model.llama_gguf import LlamaVocab
from slmstudio.worker.parity.llama_file import LlamaLogits
from slmstudio.worker.parity.reference import Reference, Row
from slmstudio.worker.parity.reference_rows import Prompt

GENERATED_TOKENS = 8


def compare(reference: Reference, vocab: LlamaVocab) -> dict[str, Any]:
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


def compare_end(reference: Reference, vocab: LlamaVocab, logits: LlamaLogits) -> dict[str, Any]:
    """Whether the file names the token that ends a turn, and whether a generation really ends there.

    Returns:
        `{"stops_at_end_of_turn", "stop_figure": in words, "generated": token ids or None}`.
    """
    wrong = _wrong_end(reference, vocab)
    row = _ending_row(reference)
    generated = None
    if not wrong and row is not None:
        generated = logits.greedy(row.ids[:-1], GENERATED_TOKENS, vocab.ends)
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
