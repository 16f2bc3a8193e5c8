"""A row as tokens, and what of it is learned within a sequence length: the plan counts by what the worker trains on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.data.conversations import Messages
from slmstudio.core.data.record import Record
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.tokens import Encoded
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.run_fields import LEAVE_OUT, PREFERENCES


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
        tokenizer: `load_tokenizer`'s; for workers `local_tokenizer`'s, or the backend of transformers' one.
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
        return self._joined(row, self._encoded(row))

    def encode_all(self, rows: Iterable[Record]) -> Iterator[tuple[Record, list[int], list[bool]]]:
        """`encode` of each row, rendered ahead; for workers."""
        for row, found in tokens.encode_rows(rows, self._conversations, self.tokenizer, self.template, self._only):
            yield row, *self._joined(row, found)

    def answers(self, row: Record) -> dict[str, Any]:
        """A pair of answers as `prompt_ids`, `chosen_ids`, `rejected_ids`; an answer marked good or bad as
        `prompt_ids`, `completion_ids`, `label`. Raises UserError, as `tokens.encode` does."""
        return _answers(row, self._encoded(row))

    def answers_all(self, rows: Iterable[Record]) -> Iterator[tuple[Record, dict[str, Any]]]:
        """`answers` of each row, rendered ahead; for workers."""
        for row, found in tokens.encode_rows(rows, self._conversations, self.tokenizer, self.template, self._only):
            yield row, _answers(row, found)

    @property
    def _only(self) -> bool:
        """Whether answers alone are learned; of preferences, they always are."""
        return self.objective in PREFERENCES or (self.objective != "text" and self.completion_only)

    def _conversations(self, row: Record) -> list[tuple[Messages, tuple[dict[str, Any], ...]]]:
        """What the template is to render of a row: nothing of plain text, two conversations of a pair of answers."""
        if row.text is not None:
            return []
        found = [(row.messages, row.tools)]
        if self.objective in PREFERENCES and row.rejected is not None:
            found.append(((*row.messages[:-1], {"role": "assistant", "content": row.rejected}), row.tools))
        return found

    def _encoded(self, row: Record) -> list[Encoded]:
        return [tokens.encode(messages, self.tokenizer, self.template, self._only, tools=tools)
                for messages, tools in self._conversations(row)]

    def _joined(self, row: Record, found: list[Encoded]) -> tuple[list[int], list[bool]]:
        if row.text is None:
            return found[0].ids, found[0].learned
        ids = list(self.tokenizer.encode(row.text, add_special_tokens=True).ids)
        if self._end is not None and ids[-1:] != [self._end]:
            ids.append(self._end)
        return ids, [True] * len(ids)


def _answers(row: Record, found: list[Encoded]) -> dict[str, Any]:
    prompt, answer = _split(found[0])
    if row.rejected is None:
        return {"prompt_ids": prompt, "completion_ids": answer, "label": bool(row.desirable)}
    other_prompt, rejected = _split(found[1])
    # Tokens may merge across the boundary; what both begin with is the prompt.
    shared = next((i for i, (a, b) in enumerate(zip(prompt, other_prompt, strict=False)) if a != b),
                  min(len(prompt), len(other_prompt)))
    return {"prompt_ids": prompt[:shared], "chosen_ids": prompt[shared:] + answer,
            "rejected_ids": other_prompt[shared:] + rejected}


def _split(encoded: Encoded) -> tuple[list[int], list[int]]:
    """What is before the last answer, and the answer with the token that ends it."""
    end = max(i for i, learned in enumerate(encoded.learned) if learned) + 1
    start = next((i + 1 for i in range(end - 1, -1, -1) if not encoded.learned[i]), 0)
    return encoded.ids[:start], encoded.ids[start:end]


def count_answers(found: dict[str, Any]) -> RowTokens:
    """The same as `RowEncoder.count`, of what `RowEncoder.answers` made."""
    prompt = len(found["prompt_ids"])
    longest = max(len(found[name]) for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in found)
    return RowTokens(prompt + longest, prompt)
