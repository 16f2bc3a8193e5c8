"""Lets the base and the tuned model answer held-out rows, and scores the answers.

Request: {"kind": "evaluate", "model": base folder, "adapter": folder or null, "test": JSONL file,
"limit": rows or null, "max_new_tokens": n, "precision": "fp32" | "bf16" | "fp16"}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sacrebleu
import torch
from transformers import AutoModelForCausalLM, StoppingCriteria, StoppingCriteriaList

from slmstudio.core import files
from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.worker.context import JobContext
from slmstudio.worker.methods import DTYPES, load_tokenizer

BATCH_ROWS = 48


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        `{"rows": n, "base": {"chrf": 0..100}, "tuned": {...}, "answers": path}`; answers.jsonl keeps every row.
    """
    request = job.request
    model_folder = Path(request["model"])
    rows = [row for row in reader.read_dataset(Path(request["test"])).records if row.messages]
    rows = rows[: request.get("limit") or None]
    if not rows:
        raise UserError("There is nothing to answer.", "The file holds plain text, which has no questions.",
                        "Choose a file with questions and answers.")
    tokenizer = load_tokenizer(model_folder)
    tokenizer.padding_side = "left"
    template = ChatTemplate.from_folder(model_folder)
    job.phase("loading model", model_folder.name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = (
        AutoModelForCausalLM.from_pretrained(
            model_folder,
            dtype=DTYPES[request.get("precision", "fp32")],
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
        .to(device)
        .eval()
    )
    prompts = [template.render(list(row.messages[:-1]), add_generation_prompt=True) for row in rows]
    references = [row.messages[-1]["content"] for row in rows]
    answers: dict[str, list[str]] = {}
    for name in ("base", "tuned") if request.get("adapter") else ("base",):
        if name == "tuned":
            model = merged(model, Path(request["adapter"]))
        job.phase(f"answering: {name}")
        answers[name] = generate(job, model, tokenizer, prompts, request.get("max_new_tokens", 96), name)
    with open(job.folder / "answers.jsonl", "wb") as file:
        for i, row in enumerate(rows):
            file.write(
                files.dump_line(
                    {
                        "messages": list(row.messages[:-1]),
                        "reference": references[i],
                        **{name: given[i] for name, given in answers.items()},
                    }
                )
            )
    scores = {name: {"chrf": chrf(given, references)} for name, given in answers.items()}
    return {"rows": len(rows), **scores, "answers": str(job.folder / "answers.jsonl")}


def merged(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter, local_files_only=True).merge_and_unload()


def chrf(answers: list[str], references: list[str]) -> float:
    """chrF++ of the whole set, 0 to 100 (Popović 2017, word n-grams up to 2), by sacrebleu."""
    return float(sacrebleu.corpus_chrf(answers, [references], word_order=2).score)


class _Watch(StoppingCriteria):  # type: ignore[misc]
    """Shows progress a token at a time and lets Cancel through."""

    def __init__(self, job: JobContext, start: int, done: int, total: int, name: str):
        self.job, self.start, self.done, self.total, self.name = job, start, done, total, name

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        self.job.check_cancelled()
        self.job.progress(self.done + input_ids.shape[1] - self.start, self.total, "tokens", f"answering: {self.name}")
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


@torch.inference_mode()
def generate(
    job: JobContext, model: Any, tokenizer: Any, prompts: list[str], max_new_tokens: int, name: str
) -> list[str]:
    """Greedy answers, batched with prompts of like length together, in the order of `prompts`."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = [""] * len(prompts)
    batches = [order[i : i + BATCH_ROWS] for i in range(0, len(order), BATCH_ROWS)]
    for number, rows in enumerate(batches):
        inputs = tokenizer([prompts[i] for i in rows], return_tensors="pt", padding=True, add_special_tokens=False).to(
            model.device
        )
        start = inputs["input_ids"].shape[1]
        watch = _Watch(job, start, number * max_new_tokens, len(batches) * max_new_tokens, name)
        output = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            stopping_criteria=StoppingCriteriaList([watch]),
        )
        for i, text in zip(rows, tokenizer.batch_decode(output[:, start:], skip_special_tokens=True), strict=True):
            answers[i] = text.strip()
    return answers
