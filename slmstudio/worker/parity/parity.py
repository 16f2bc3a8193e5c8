"""Proves that a GGUF answers like the trained model: same tokens, prompt, weights, logits and end.

Request: {"kind": "parity", "gguf": path, "run": run folder or model folder}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, llama
from slmstudio.core.export import proof
from slmstudio.core.export.types import QUANT_TYPES, QuantType
from slmstudio.core.i18n import tr
from slmstudio.worker.model.llama_gguf import LlamaVocab
from slmstudio.worker.parity import answers, tokens, weights
from slmstudio.worker.parity.llama_file import LlamaFile, LlamaLogits, kept_small
from slmstudio.worker.parity.reference import Reference, measure
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.runtime.cooling import cooled


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
        and the figures of `parity_tokens`, `parity_weights` and `parity_answers`.

    Raises:
        UserError: the file can't be loaded or run.
    """
    with kept_small(gguf):
        found, metadata = _compare(job, reference, gguf)
    ftype = int(metadata.get("general.file_type", -1))
    kind = kind or next((known for known in QUANT_TYPES if known.ftype == ftype), None)
    return {**formats.stamp("parity"), **proof.judged(found, kind), **found,
            "type": kind.name if kind else tr("file type {number}", number=ftype), "sha256": files.sha256_of(gguf)}


def _compare(job: JobContext, reference: Reference, gguf: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The figures of all comparisons, and the file's key-value pairs."""
    longest = max((len(row.ids) for row in reference.rows), default=1)
    file = LlamaFile(gguf, longest + tokens.GENERATED_TOKENS)
    logits = LlamaLogits(file)
    try:
        vocab = LlamaVocab(file)
        found = tokens.compare(reference, vocab)
        job.check_cancelled()
        found |= answers.compare(job, reference, logits)
        found |= tokens.compare_end(reference, vocab, logits)
        found |= weights.compare(reference, gguf, file.metadata, vocab.text)
    finally:
        logits.close()
        file.close()
    return found, file.metadata
