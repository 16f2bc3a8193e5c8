"""A row as tokens, and what of it is learned within a sequence length: the plan counts by what the worker trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.data.conversations import Messages
from slmstudio.core.data.record import Record
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.fields.choices import LEAVE_OUT, PREFERENCES


@dataclass(frozen=True, slots=True)
class RowTokens:
    """
    Attributes:
        length: tokens of the row; of a pair those of the longer answer with its question.
        start: tokens before the first one that is learned.
        is_text: plain text, which is split where it is longer than the sequence length.
    """

    length: int
    start: int
    is_text: bool = False

    @classmethod
    def of(cls, learned: Sequence[bool], is_text: bool) -> RowTokens:
        """Of a row's tokens, by which of them are learned; nothing foretells the first one."""
        return cls(len(learned), next((i for i, each in enumerate(learned) if each and i), len(learned)), is_text)

    def learned(self, config: RunConfig) -> int:
        """Rows that training makes of this one: 0 if it is left out, or if nothing to learn is within the sequence
        length; several of a long text. A last token alone has none before it to be learned from."""
        if self.is_text:
            whole, rest = divmod(self.length, config.max_length)
            return whole + (rest > 1)
        if config.overlong_rows == LEAVE_OUT and self.is_overlong(config.max_length):
            return 0
        return int(min(self.length, config.max_length) > self.start)

    def is_overlong(self, max_length: int) -> bool:
        """Whether its end is lost, or all of it."""
        return not self.is_text and self.length > max_length


@dataclass(frozen=True)
class RowEncoder:
    """Makes tokens of rows as an objective learns them.

    Attributes:
        tokenizer: `load_tokenizer`'s, or the backend of transformers' one.
        completion_only: learn answers alone (`RunConfig.completion_only_loss`).
    """

    tokenizer: Any
    template: ChatTemplate
    objective: str
    completion_only: bool = True
    _end: int | None = field(init=False)

    def __post_init__(self) -> None:
        end = self.template.special_tokens.get("eos_token")
        object.__setattr__(self, "_end", None if end is None else self.tokenizer.token_to_id(end))

    def count(self, row: Record) -> RowTokens:
        """How long a row is, and where what is learned of it begins. Raises UserError, as `tokens.encode` does."""
        if self.objective in PREFERENCES and row.text is None:
            return count_answers(self.answers(row))
        return RowTokens.of(self.encode(row)[1], row.text is not None)

    def encode(self, row: Record) -> tuple[list[int], list[bool]]:
        """All tokens of a row, and which are learned. Raises UserError, as `tokens.encode` does."""
        if row.text is None:
            whole = self.objective == "text" or not self.completion_only
            encoded = tokens.encode(list(row.messages), self.tokenizer, self.template, completion_only=not whole,
                                    tools=row.tools)
            return encoded.ids, encoded.learned
        ids = list(self.tokenizer.encode(row.text, add_special_tokens=True).ids)
        if self._end is not None and ids[-1:] != [self._end]:
            ids.append(self._end)
        return ids, [True] * len(ids)

    def answers(self, row: Record) -> dict[str, Any]:
        """A pair of answers as `prompt_ids`, `chosen_ids`, `rejected_ids`; an answer marked good or bad as
        `prompt_ids`, `completion_ids`, `label`. Raises UserError, as `tokens.encode` does."""
        prompt, answer = self._split(row.messages, row.tools)
        if row.rejected is None:
            return {"prompt_ids": prompt, "completion_ids": answer, "label": bool(row.desirable)}
        other_prompt, rejected = self._split(
            (*row.messages[:-1], {"role": "assistant", "content": row.rejected}), row.tools)
        # Tokens may merge across the boundary; what both begin with is the prompt.
        shared = next((i for i, (a, b) in enumerate(zip(prompt, other_prompt, strict=False)) if a != b),
                      min(len(prompt), len(other_prompt)))
        return {"prompt_ids": prompt[:shared], "chosen_ids": prompt[shared:] + answer,
                "rejected_ids": other_prompt[shared:] + rejected}

    def _split(self, messages: Messages, tools: tuple[dict[str, Any], ...]) -> tuple[list[int], list[int]]:
        """What is before the last answer, and the answer with the token that ends it."""
        encoded = tokens.encode(messages, self.tokenizer, self.template, completion_only=True, tools=tools)
        end = max(i for i, learned in enumerate(encoded.learned) if learned) + 1
        start = next((i + 1 for i in range(end - 1, -1, -1) if not encoded.learned[i]), 0)
        return encoded.ids[:start], encoded.ids[start:end]


def count_answers(found: dict[str, Any]) -> RowTokens:
    """The same as `RowEncoder.count`, of what `RowEncoder.answers` made."""
    prompt = len(found["prompt_ids"])
    longest = max(len(found[name]) for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in found)
    return RowTokens(prompt + longest, prompt)
