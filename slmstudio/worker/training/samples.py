"""Fixed prompts that the model answers while it learns, so that one sees it learn."""

from __future__ import annotations

import time
from typing import Any

import torch

from slmstudio.core.data.reader import Record
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.kernels.head_input import whole_inputs

FROM_ROWS = 2
"""Evaluation rows whose questions are asked when the configuration names no prompts."""
OPENING = 200
"""Characters of a plain text that the model continues."""


class Samples:
    """Answers the same prompts each time, always taking the likeliest token: nothing random, so nothing that a resumed
    run would do in another way."""

    def __init__(self, config: RunConfig, tokenizer: Any, template: ChatTemplate, eval_rows: list[Record]):
        self._tokenizer, self._most = tokenizer, config.sample_max_tokens
        self._asked: list[tuple[str, str, str | None]] = []  # what is shown, what the model reads, the reference
        plain = config.objective == "text"
        for prompt in config.sample_prompts:
            text = prompt if plain else template.render(
                [{"role": "user", "content": prompt}], add_generation_prompt=True)
            self._asked.append((prompt, text, None))
        for row in [] if self._asked else eval_rows[:FROM_ROWS]:
            self._asked.append(_from_row(row, tokenizer, template))

    def __bool__(self) -> bool:
        return bool(self._asked) and self._most > 0

    @torch.no_grad()
    def take(self, model: Any) -> dict[str, Any]:
        """Let the model answer.

        Returns:
            The fields of a `sample` event: for each prompt its answer and, where known, the reference.
        """
        started = time.monotonic()
        side, self._tokenizer.padding_side = self._tokenizer.padding_side, "left"
        was_training = model.training
        model.eval()
        try:
            inputs = self._tokenizer([text for _, text, _ in self._asked], return_tensors="pt", padding=True,
                                     add_special_tokens=False).to(model.device)
            with whole_inputs(model):
                output = model.generate(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=self._most,
                    do_sample=False, use_cache=True, pad_token_id=self._tokenizer.pad_token_id)
            answers = self._tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
        finally:
            self._tokenizer.padding_side = side
            model.train(was_training)
        samples = [{"prompt": prompt, "answer": answer.strip(), "reference": reference}
                   for (prompt, _, reference), answer in zip(self._asked, answers, strict=True)]
        return {"samples": samples, "seconds": round(time.monotonic() - started, 2)}


def _from_row(row: Record, tokenizer: Any, template: ChatTemplate) -> tuple[str, str, str | None]:
    """The row's last question, all that is before its last answer, and that answer; a call of tools is written as the
    model is to write it."""
    if row.text is not None:
        opening = row.text[:OPENING]
        return opening, opening, row.text[OPENING: 2 * OPENING] or None
    asked = list(row.messages[:-1])
    question = next((each["content"] for each in reversed(asked) if each["role"] == "user"), "")
    reference = row.messages[-1]["content"]
    if row.messages[-1].get("tool_calls"):
        reference = tokens.answer_shown(row.messages, tokenizer.backend_tokenizer, template, row.tools)
    return question, template.render(asked, add_generation_prompt=True, tools=row.tools), reference
