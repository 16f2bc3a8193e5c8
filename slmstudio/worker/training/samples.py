"""Fixed prompts that the model answers while it learns, so that one sees it learn."""

from __future__ import annotations

import time
from typing import Any

import torch

from slmstudio.core.data.reader import Record
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.kernels.head_loss import whole_inputs

FROM_ROWS = 2
"""Evaluation rows whose questions are asked when the configuration names no prompts."""
OPENING = 200
"""Characters of a plain text that the model continues."""


class Samples:
    """Answers the same prompts each time, always taking the likeliest token: nothing random, so nothing that a resumed
    run would do in another way."""

    def __init__(self, config: RunConfig, tokenizer: Any, template: ChatTemplate, eval_rows: list[Record]):
        self._tokenizer, self._most = tokenizer, config.sample_max_tokens
        self._asked: list[tuple[str, list[int], str | None]] = []  # what is shown, what the model reads, the reference
        for prompt in config.sample_prompts:
            asked = None if config.objective == "text" else [{"role": "user", "content": prompt}]
            self._asked.append((prompt, _ids(asked, tokenizer, template) if asked else _plain(prompt, tokenizer), None))
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
        width = max(len(ids) for _, ids, _ in self._asked)
        gaps = [width - len(ids) for _, ids, _ in self._asked]  # in front, so that all answers begin at one place
        pad = self._tokenizer.pad_token_id
        inputs = torch.tensor([[pad] * gap + ids for gap, (_, ids, _) in zip(gaps, self._asked, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
        was_training = model.training
        model.eval()
        try:
            with whole_inputs(model):
                output = model.generate(
                    input_ids=inputs.to(model.device), attention_mask=mask.to(model.device), max_new_tokens=self._most,
                    do_sample=False, use_cache=True, pad_token_id=pad)
            answers = self._tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
        finally:
            model.train(was_training)
        samples = [{"prompt": prompt, "answer": answer.strip(), "reference": reference}
                   for (prompt, _, reference), answer in zip(self._asked, answers, strict=True)]
        return {"samples": samples, "seconds": round(time.monotonic() - started, 2)}


def _plain(text: str, tokenizer: Any) -> list[int]:
    """A text that is continued as it is: what looks like a control token in it is one, as in the rows that are learned.
    """
    return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


def _ids(messages: list[dict[str, Any]], tokenizer: Any, template: ChatTemplate, tools: Any = ()) -> list[int]:
    """What the model reads, as in training and in Chat: no question makes a control token."""
    encoder = tokenizer.backend_tokenizer
    rendered = template.render(tokens.marked(messages, encoder), add_generation_prompt=True, tools=tools)
    return tokens.ids_of(rendered, encoder)[0]


def _from_row(row: Record, tokenizer: Any, template: ChatTemplate) -> tuple[str, list[int], str | None]:
    """The row's last question, all that is before its last answer, and that answer; a call of tools is written as the
    model is to write it."""
    if row.text is not None:
        opening = row.text[:OPENING]
        return opening, _plain(opening, tokenizer), row.text[OPENING: 2 * OPENING] or None
    asked = list(row.messages[:-1])
    question = next((each["content"] for each in reversed(asked) if each["role"] == "user"), "")
    reference = row.messages[-1]["content"]
    if row.messages[-1].get("tool_calls"):
        reference = tokens.answer_shown(row.messages, tokenizer.backend_tokenizer, template, row.tools)
    return question, _ids(asked, tokenizer, template, row.tools), reference
