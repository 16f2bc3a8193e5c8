"""What a model is asked about an item of a test set, as token ids, and in which batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from slmstudio.core.chat.sampling import ends_in_loop
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import answer_rows
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.chat_template import ChatTemplate

MOST_ROWS = 32
"""Rows of one batch; more would hardly make a step cheaper per row."""

BROKEN = noop("The model computed something that isn't a number (NaN).")
"""In English in the answers' files, where it is looked up; it is translated when it is shown."""

LOOK_TOKENS = 16
"""After every so many tokens it is looked whether an answer repeats itself."""
TAIL_TOKENS = 1024

BY_TEXT = "text"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Gate = Callable[[float], None]
"""Called often with the share of a batch that is done, 0 to 1; this is where the user can pause or cancel."""


@dataclass(frozen=True)
class Ask:
    """One prompt.

    Attributes:
        prompt: its tokens, at least one.
        continuations: token rows whose log-likelihood behind the prompt is wanted, none of them empty.
        most: the answer's maximum number of tokens; 0 if none is wanted.
        grammar: of llama.cpp (GBNF), which the answer is held to; "" for none.
        forced: what must follow an answer so far, as its grammar has it; "" where there is a choice. It is read like a
            prompt, in a fraction of the time that choosing each token takes. Only GGUF files obey these two.
    """

    prompt: list[int]
    continuations: tuple[list[int], ...] = ()
    most: int = 0
    grammar: str = ""
    forced: Callable[[str], str] | None = None

    @property
    def length(self) -> int:
        """Tokens that the cache must hold for it."""
        return len(self.prompt) + max([self.most, *map(len, self.continuations)])


@dataclass
class Reply:
    """What the model made of an `Ask`.

    Attributes:
        ids: the answer, without the token that ended it.
        seconds: that writing its tokens took behind the first one, which reading the prompt gives: of each step an
            equal share.
        reading: seconds that reading the prompt took: of those of a batch, as much as it has of the tokens.
        repeated: whether it was stopped because it repeated itself.
        logprobs: ln p of each continuation.
        broken: whether the model computed something that isn't a number.
    """

    ids: list[int] = field(default_factory=list)
    seconds: float = 0.0
    reading: float = 0.0
    ended: bool = False
    repeated: bool = False
    logprobs: list[float] = field(default_factory=list)
    broken: bool = False


def add_token(reply: Reply, token: int, most: int, decode: Callable[[Sequence[int]], str]) -> bool:
    """Put one more token to an answer. Returns whether the answer continues: neither full nor in a loop."""
    reply.ids.append(token)
    full = len(reply.ids) >= most
    if full or len(reply.ids) % LOOK_TOKENS == 0:
        reply.repeated = ends_in_loop(decode(reply.ids[-TAIL_TOKENS:]))
    return not (full or reply.repeated)


class Model(Protocol):
    """A loaded model of any kind.

    Attributes:
        context_length: tokens of a prompt with its answer.
        bytes_per_token: of the cache.
        shares_batches: whether rows of different lengths can be computed together.
        memory: bytes that caches may take.
    """

    template: ChatTemplate
    context_length: int
    bytes_per_token: int
    shares_batches: bool
    memory: int

    def encode(self, text: str) -> list[int]: ...

    def marked(self, messages: Sequence[Mapping[str, Any]]) -> list[Any]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def reference(self, messages: Sequence[Mapping[str, Any]], answer: str | Mapping[str, Any],
                  tools: Sequence[Mapping[str, Any]] = ()) -> tuple[list[int], list[int]]:
        """The tokens before an answer as training sees them, and those that it learns.

        Args:
            answer: its text, or the whole message where it calls tools.
        """

    def run(self, asks: Sequence[Ask], gate: Gate) -> list[Reply]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Row:
    """An item, prepared for one model.

    Attributes:
        item: as in items.jsonl.
        asks: the first one gives the answer.
        references, choices: for each, (number of the ask, number of its continuation).
        skipped: why it can't be asked; "" when it can.
        opened: whether the prompt ends in thoughts, so that the answer begins in them.
    """

    item: dict[str, Any]
    asks: tuple[Ask, ...] = ()
    references: tuple[tuple[int, int], ...] = ()
    choices: tuple[tuple[int, int], ...] = ()
    skipped: str = ""
    opened: bool = False

    @property
    def length(self) -> int:
        return max((ask.length for ask in self.asks), default=0)

    @property
    def expected(self) -> int:
        """Tokens of the question with the answer that is hoped for."""
        answers = [len(self.asks[ask].continuations[at]) for ask, at in self.references]
        return len(self.asks[0].prompt) + max(answers, default=0)


def prepare(item: dict[str, Any], model: Model, most: int) -> Row:
    """Turn an item into tokens. Never cuts: what doesn't fit into the context is skipped, with the reason."""
    messages, tools = model.marked(item["messages"]), model.marked(item.get("tools") or ())
    try:
        shown = lettered(item)
        labels = LETTERS[:len(item["choices"])] if shown else item["choices"] if item["kind"] == "choice" else ()
        model.template.check_tools(messages, tools)
        text = model.template.render(model.marked(shown) if shown else messages, add_generation_prompt=True,
                                     tools=tools)
        prompt = model.encode(text)
        asks = _Asks(None if labels else prompt)
        wanted = [] if labels else [item["reply"]] if item.get("reply") else item["references"]
        references = tuple(asks.add(*model.reference(messages, answer, tools)) for answer in wanted)
        choices = tuple(asks.add(*split(model.encode, text, label)) for label in labels)
    except UserError as error:
        return Row(item, skipped=" ".join(filter(None, (error.what, error.why))))
    room = model.context_length - len(prompt)
    row = Row(item, asks.made(0 if labels else min(most, room)), references, choices,
              opened=not labels and answer_rows.opens(text))
    if room < 1 or row.length > model.context_length:
        return Row(item,
                   skipped=tr("It takes {length:,} tokens; the model reads {context_length:,} at most.",
                              length=max(row.length, len(prompt) + 1), context_length=model.context_length))
    return row


def message_of(answer: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"role": "assistant", "content": answer} if isinstance(answer, str) else answer


def lettered(item: Mapping[str, Any]) -> list[dict[str, str]] | None:
    """The messages of a multiple-choice item with the choices shown as MMLU shows them (Hendrycks et al. 2021, arXiv
    2009.03300), each behind a letter, and the letters are what is scored; None for other items, and for those that say
    "choices_by": "text", where each choice is scored as an answer: so can a model answer that is too small to name
    letters."""
    if item["kind"] != "choice" or item.get("choices_by") == BY_TEXT:
        return None
    *before, question = item["messages"]
    if len(item["choices"]) > len(LETTERS):
        raise UserError(tr("It has {count} choices.", count=len(item["choices"])),
                        tr("At most {letters} choices can have a letter.", letters=len(LETTERS)),
                        tr("Leave out some of the wrong ones."))
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, item["choices"], strict=False)]
    return [*before, {**question, "content": "\n".join([question["content"].strip(), *lines, "Answer:"])}]


class _Asks:
    """Collects what is asked, so that a prompt that several continuations share is read once. The first is answered."""

    def __init__(self, prompt: list[int] | None):
        self._found: list[tuple[list[int], list[list[int]]]] = [] if prompt is None else [(prompt, [])]

    def add(self, context: list[int], continuation: list[int]) -> tuple[int, int]:
        for number, (prompt, continuations) in enumerate(self._found):
            if prompt == context:
                continuations.append(continuation)
                return number, len(continuations) - 1
        self._found.append((context, [continuation]))
        return len(self._found) - 1, 0

    def made(self, most: int) -> tuple[Ask, ...]:
        return tuple(Ask(prompt, tuple(continuations), 0 if number else most)
                     for number, (prompt, continuations) in enumerate(self._found))


def split(encode: Callable[[str], list[int]], context: str, continuation: str) -> tuple[list[int], list[int]]:
    """The tokens of a context and of what continues it, by the rule of lm_eval's `_encode_pair`: both are encoded
    together, and what comes after as many tokens as the context has alone is the continuation's; spaces and line breaks
    at the context's end are moved over to it.

    Raises:
        UserError: nothing is left to score.
    """
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    before, whole = encode(context), encode(context + continuation)
    if not before or len(whole) <= len(before):
        raise UserError(tr("A choice is empty."), tr("It leaves no token to score."),
                        tr("Write something into every choice."))
    return before, whole[len(before):]


def batches(rows: Sequence[Row], model: Model, most_rows: int | None = None) -> list[list[Row]]:
    """Rows of similar length together, the longest first: what doesn't fit in memory shows at once, and the estimate of
    the time left is never too optimistic. The same rows always make the same batches, so that an evaluation that was
    killed computes the rest exactly as one that wasn't."""
    most_rows = (most_rows or MOST_ROWS) if model.shares_batches else 1
    found: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: (-row.length, row.item["id"])):
        batch = found[-1] if found else []
        # The first row of a batch is its longest.
        room = batch[0].length * model.bytes_per_token * (len(batch) + 1) if batch else 0
        if batch and len(batch) < most_rows and room <= model.memory:
            batch.append(row)
        else:
            found.append([row])
    return found


def run_rows(rows: Sequence[Row], model: Model, gate: Gate) -> list[list[Reply]]:
    """The replies to all asks of each row. Most rows have one ask; second ones make a batch of their own."""
    replies: list[list[Reply]] = [[] for _ in rows]
    rounds = max(len(row.asks) for row in rows)
    for number in range(rounds):
        there = [at for at, row in enumerate(rows) if number < len(row.asks)]
        asks = [rows[at].asks[number] for at in there]
        found = model.run(asks, lambda share, number=number: gate((number + share) / rounds))
        for at, reply in zip(there, found, strict=True):
            replies[at].append(reply)
    return replies


def line_of(row: Row, replies: Sequence[Reply], model: Model) -> dict[str, Any]:
    """The line of answers-N.jsonl. What the model thought before its answer has a key of its own."""
    seconds = round(replies[0].seconds, 5) if replies else 0.0
    empty = {"id": row.item["id"], "answer": "", "tokens": 0, "seconds": seconds, "finish": "stop",
             "reference_nats": [], "reference_tokens": [], "choice_logprobs": None, "skipped": row.skipped or None}
    if row.skipped:
        return empty
    if any(reply.broken for reply in replies):
        return {**empty, "skipped": BROKEN}
    answer = replies[0]
    nats = [-replies[ask].logprobs[at] for ask, at in row.references]
    choices = [replies[ask].logprobs[at] for ask, at in row.choices]
    said: dict[str, Any] = {}
    if choices:
        said["answer"] = row.item["choices"][max(range(len(choices)), key=choices.__getitem__)].strip()
    else:
        text, said[answer_rows.KEY] = written(row, answer, model)
        said["answer"] = text.strip()
    return {**empty, **said, "tokens": len(answer.ids) + answer.ended,
            "finish": "stop" if answer.ended or choices else "repeat" if answer.repeated else "length",
            "reference_nats": nats,
            "reference_tokens": [len(row.asks[ask].continuations[at]) for ask, at in row.references],
            "choice_logprobs": choices or None,
            "choices_by": (row.item.get("choices_by") or "letter") if choices else None}


def written(row: Row, reply: Reply, model: Model) -> tuple[str, str | None]:
    """The answer, and what the model thought before it; None if it didn't think."""
    # A model whose prompt opens thoughts, and which ends without ending them, was taught to answer without any.
    thought, answer = answer_rows.split_thoughts(model.decode(reply.ids), row.opened, reply.ended)
    return answer, thought


def cache_budget(free: int, path: Path) -> int:
    """Bytes for caches: a quarter of the free memory, 4 GB at most. Kept in `path`, since batches depend on it."""
    from slmstudio.core import files

    if known := (files.read_json(path) or {}).get("cache_bytes"):
        return int(known)
    budget = min(free // 4, 4 * 2**30)
    files.write_atomically(path, files.dump_pretty({"cache_bytes": budget}))
    return budget
