"""Proves that a GGUF answers as the model that was trained: same tokens, same prompt, same logits, same end.

Request: {"kind": "parity", "gguf": path, "run": run folder or model folder}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.export.types import QUANT_TYPES, QuantType
from slmstudio.worker import llama_log
from slmstudio.worker.context import JobContext
from slmstudio.worker.llama_vocab import LlamaVocab
from slmstudio.worker.reference import ROW_TOKENS, Reference, measure

LIMITS = ((16.0, 1e-3, 0.99), (8.0, 0.02, 0.90), (0.0, 0.5, 0.50))
"""From so many bits a weight: the largest NMSE and the smallest share of equal first choices. Below 16 bits a loss is
expected; those limits only catch broken files."""
GENERATED_TOKENS = 48


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        What `compare` returns; it is stored beside the file too.

    Raises:
        UserError: the file cannot be loaded, or the run has left nothing to compare it with.
    """
    from slmstudio.worker.export import Source

    gguf = Path(job.request["gguf"])
    job.phase("checking", gguf.name)
    result = compare(job, measure(job, Source.of(Path(job.request["run"]))), gguf, None)
    files.write_atomically(gguf.with_suffix(".parity.json"), files.dump_pretty(result))
    return result


def compare(job: JobContext, reference: Reference, gguf: Path, kind: QuantType | None) -> dict[str, Any]:
    """Hold a GGUF against the fine-tuned model.

    Args:
        kind: its quantization type; None reads it from the file.

    Returns:
        `{"passed", "verdict", "failures": [sentence], "prompts", "user_prompts", "token_ids_equal", "prompts_equal",
        "one_bos", "normalizer", "stops_at_end_of_turn", "nmse", "top1", "positions", "generated", "type", "sha256"}`.
    """
    llama_log.install()
    import llama_cpp

    try:
        model = llama_cpp.Llama(str(gguf), n_ctx=ROW_TOKENS + GENERATED_TOKENS, n_batch=ROW_TOKENS, logits_all=True,
                                n_threads=_threads(), n_threads_batch=_threads(), verbose=False)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{gguf.name} cannot be loaded.", f"llama.cpp says: {llama_log.last_error() or error}.",
                        "Export it again.") from error
    try:
        vocab = LlamaVocab(model)
        found = {**_compare_prompts(reference, vocab), **_compare_logits(job, reference, model)}
        found["stops_at_end_of_turn"] = reference.end_of_turn is None or vocab.ends(reference.end_of_turn)
        found["generated"] = _generate(reference, model, vocab)
        ftype = int(model.metadata.get("general.file_type", -1))
    finally:
        model.close()
    kind = kind or next((known for known in QUANT_TYPES if known.ftype == ftype), None)
    failures = _failures(found, kind)
    name = kind.name if kind else f"file type {ftype}"
    return {"passed": not failures, "verdict": _verdict(found, failures), "failures": failures, **found, "type": name,
            "sha256": files.sha256_of(gguf)}


def _compare_prompts(reference: Reference, vocab: LlamaVocab) -> dict[str, Any]:
    """Tokens and rendered text, prompt by prompt."""
    other_ids, other_text, other_bos = [], [], []
    for prompt in reference.prompts:
        rendered = vocab.template.render(prompt.messages, add_generation_prompt=True) if vocab.template else prompt.text
        if rendered != prompt.text:
            other_text.append(prompt.text)
        if vocab.encode(prompt.text) != prompt.ids:
            other_ids.append(prompt.text)
        if _leading(vocab.served(prompt.text), reference.bos) != _leading(prompt.ids, reference.bos):
            other_bos.append(prompt.text)
    return {"prompts": len(reference.prompts), "user_prompts": reference.user_rows,
            "token_ids_equal": not other_ids, "token_ids_differ": len(other_ids), "token_ids_example": other_ids[:1],
            "prompts_equal": not other_text, "one_bos": not other_bos, "normalizer": vocab.normalizer}


def _leading(ids: list[int], bos: int | None) -> int:
    count = 0
    while count < len(ids) and ids[count] == bos:
        count += 1
    return count


def _compare_logits(job: JobContext, reference: Reference, model: Any) -> dict[str, Any]:
    """Teacher-forced logits, token by token.

    NMSE = Σ(a - b)² / Σ a² over all positions and the whole vocabulary, where each position's mean is taken off first:
    softmax does not see it, and a large common offset would hide differences. None where no row was measured.
    The first choices are compared where an answer is predicted. Before it the text is given: what the model would have
    put there is never used, is often a near tie, and a fixed system prompt repeats the same tie in every row.
    """
    error = power = 0.0
    equal = positions = 0
    for row in reference.rows:
        job.check_cancelled()
        model.reset()
        model.eval(row.ids)
        theirs = model.scores[:len(row.ids)]
        ours = row.logits[:, :theirs.shape[1]]
        equal += int((ours.argmax(1) == theirs.argmax(1))[row.answer:].sum())
        positions += len(row.ids) - row.answer
        ours = ours - ours.mean(1, keepdims=True)
        theirs = theirs - theirs.mean(1, keepdims=True)
        error += float(np.square(ours - theirs, dtype=np.float64).sum())
        power += float(np.square(ours, dtype=np.float64).sum())
    if positions == 0:
        return {"nmse": None, "top1": None, "positions": 0}
    return {"nmse": error / power, "top1": equal / positions, "positions": positions}


def _generate(reference: Reference, model: Any, vocab: LlamaVocab) -> dict[str, Any]:
    """The most likely answer to the user's first short prompt: how long it is, and whether it ends by itself."""
    own = reference.prompts[len(reference.prompts) - reference.user_rows:] or reference.prompts
    prompt = next((prompt.ids for prompt in own if len(prompt.ids) <= ROW_TOKENS), own[0].ids[:ROW_TOKENS])
    count = 0
    for count, token in enumerate(model.generate(prompt, temp=0.0)):
        if vocab.ends(token):
            return {"tokens": count, "ended": True}
        if count + 1 >= GENERATED_TOKENS:
            break
    return {"tokens": count + 1, "ended": False}


def _failures(found: dict[str, Any], kind: QuantType | None) -> list[str]:
    bits = kind.bits_per_weight if kind else 0.0
    most_nmse, least_top1 = next((nmse, top1) for least, nmse, top1 in LIMITS if bits >= least)
    failures = []
    if not found["token_ids_equal"]:
        failures.append(f"{found['token_ids_differ']} of {found['prompts']} prompts get other tokens than in training, "
                        f"for instance {found['token_ids_example'][0]!r}.")
    if not found["prompts_equal"]:
        failures.append("The stored chat template renders conversations differently than in training.")
    if not found["one_bos"]:
        failures.append("Servers would put a beginning-of-sequence token where training had none, or leave it out.")
    if not found["stops_at_end_of_turn"]:
        failures.append("Generation would not stop at the token that ends a turn.")
    if found["positions"] == 0:
        return failures
    if not found["nmse"] <= most_nmse:
        failures.append(f"The logits differ: normalised mean squared error {found['nmse']:.2g}; at most {most_nmse:g} "
                        "is right.")
    if found["top1"] < least_top1:
        failures.append(f"Only {found['top1']:.1%} of the first choices are the same; at least {least_top1:.0%} "
                        "is right.")
    return failures


def _verdict(found: dict[str, Any], failures: list[str]) -> str:
    if failures:
        return failures[0] + (f" And {len(failures) - 1} more." if len(failures) > 1 else "")
    same = f"Same tokens and same prompt text in {found['prompts']} conversations; "
    if found["positions"] == 0:
        return same + "the logits were not compared, as the trained model does not fit into the free memory."
    return same + (f"the first choice is the same at {found['top1']:.1%} of {found['positions']} positions "
                   f"(error {found['nmse']:.1e}).")


def _threads() -> int:
    import psutil

    return psutil.cpu_count(logical=False) or 1
