"""Whether an evaluation can do what it is asked: everything that is wrong at once, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import llama
from slmstudio.core.chat.context import KINDS
from slmstudio.core.chat.placement import folder_without_vulkan
from slmstudio.core.data.record import message_text
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.evaluation import benchmark_store
from slmstudio.core.evaluation.answer_rows import have_thoughts
from slmstudio.core.evaluation.testset.item import TestItem, TestSet
from slmstudio.core.evaluation.testset.reader import (
    MmluFolder,
    ReadingCancelled,
    doubt,
    examples,
    find_mmlu,
    read_test_set,
)
from slmstudio.core.files import objects
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.gguf.lora import check_fits, read_lora
from slmstudio.core.model.gguf.model import read_sound_gguf
from slmstudio.core.model.named_templates import template_of
from slmstudio.core.run.folder import need_own_result
from slmstudio.core.run.run_fields import PRECISIONS

# -- Whether the rows of a test set can be put to a model: within its context, and with the system prompt.

SHOWN = 20
"""Problems of one kind which are named one by one."""


@dataclass(frozen=True)
class Reader:
    """A model in a folder.

    Attributes:
        context: tokens that it reads.
        named, adapter: the chat template of its run, and the folder with what was learned, if any.
    """

    name: str
    folder: Path
    context: int
    named: str
    adapter: str | None

    def template(self) -> ChatTemplate:
        """The chat template in which it is asked. Raises UserError."""
        return template_of(self.folder, self.named, self.adapter)

    def template_text(self) -> str:
        """Its jinja text; empty if it can't be used."""
        try:
            return self.template().source
        except UserError:
            return ""


def check_system(system: Any, items: list[TestItem], reader: Reader, problems: list[Problem]) -> None:
    """A template that refuses system messages would refuse every row. Of GGUF files the worker tells."""
    rows = [item.messages for item in items if item.messages[0]["role"] != "system"]
    if not isinstance(system, str) or not system or len(rows) < len(items):
        return
    try:
        template = reader.template()
        template.render(rows[0], add_generation_prompt=True)
    except UserError:
        return  # that is nothing of the system prompt's
    try:
        template.render([{"role": "system", "content": system}, *rows[0]], add_generation_prompt=True)
    except UserError as error:
        problems.append(Problem(tr("{model}: {reason}. Leave the system prompt out.", model=reader.name,
                                   reason=error.what.rstrip(".।")), field="system"))


def check_context(items: list[TestItem], reader: Reader, answer: int, problems: list[Problem]) -> list[Problem]:
    """Rows that don't fit into a model's context; all of them is a problem, some are told.

    A token has at least one byte, so only rows with more bytes than that are made into tokens.
    """
    name, context = reader.name, reader.context
    if answer >= context:
        problems.append(Problem(tr("an answer of {answer:,} tokens leaves no room for a question: the context of "
                                   "{model} has {context:,} tokens.", answer=answer, model=name, context=context),
                                field="max_new_tokens"))
        return []
    try:
        long = [(item, question, wanted) for item, question, wanted in _tokens(items, reader, context - answer)
                if question + max(wanted, answer) > context]
    except UserError as error:
        problems.append(Problem(" ".join(part for part in (error.what, error.why) if part), field=name))
        return []
    lost = [question + max(1, wanted) > context for _, question, wanted in long]
    if len(long) == len(items) and all(lost):
        problems.append(Problem(tr("no row fits in the context of {model}: it has {context:,} tokens, the shortest "
                                   "question has {question:,}, and the answer may have {answer:,}.", model=name,
                                   context=context, question=min(size for _, size, _ in long), answer=answer),
                                field="max_new_tokens"))
        return []
    told = [Problem(_too_long(name, context, answer, question, wanted), item.line)
            for item, question, wanted in long[:SHOWN]]
    if len(long) > SHOWN:
        told.append(Problem(ntr("{n:,} more row is too long for {model}.", "{n:,} more rows are too long for {model}.",
                                len(long) - SHOWN, model=name), field=name))
    return told


def _tokens(items: list[TestItem], reader: Reader, most: int) -> Iterator[tuple[TestItem, int, int]]:
    """The items that may have more than `most` tokens, with those of the question and of the longest reference."""
    template = reader.template()
    if not have_thoughts(text for item in items for text in item.references):
        template = template.without_thoughts()
    around = len(template.render([{"role": "user", "content": "x"}], add_generation_prompt=True).encode())
    doubtful = [item for item in items if max((len(each.encode()) for each in item.references), default=0)
                + sum(len(each.encode()) + around for each in (*map(message_text, item.messages), 2 * repr(item.tools)))
                > most]
    if not doubtful:
        return
    from slmstudio.core.model.tokens import load_tokenizer

    tokenizer = load_tokenizer(reader.folder)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    for item in doubtful:
        yield item, count(template.render(item.messages, True, item.tools)), max(map(count, item.references), default=0)


def _too_long(name: str, context: int, answer: int, question: int, wanted: int) -> str:
    if question >= context:
        return tr("the question has {question:,} tokens, which leaves no room for an answer in the {context:,} that "
                  "{model} can read, so the row is skipped.", question=question, context=context, model=name)
    if question + wanted > context:
        return tr("the question has {question:,} tokens and the reference {reference:,}, which is more than the "
                  "{context:,} that {model} can read, so the row is skipped.", question=question, reference=wanted,
                  context=context, model=name)
    return tr("the question has {question:,} tokens; with {answer:,} for the answer, that is more than the "
              "{context:,} that {model} can read, so the answer gets {left:,}.", question=question, answer=answer,
              context=context, model=name, left=context - question)


MOST_ROWS = 10_000_000


@dataclass(frozen=True)
class Checked:
    """A request that can be carried out.

    Attributes:
        test: the test set, or None for a benchmark.
        warnings: rows that will be left out or skipped, by line, and what else is worth knowing.
    """

    test: TestSet | None
    warnings: tuple[Problem, ...] = ()


def check(request: Mapping[str, Any], cancelled: Callable[[], bool] | None = None,
          progress: Callable[[int, int], None] | None = None) -> Checked:
    """Look at every value of a request and at the files it names. Reads the whole test file.

    Args:
        progress: called with (bytes read, bytes in all) of the test file.

    Raises:
        UserError: naming every problem.
        ReadingCancelled: `cancelled` said so.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    _check_numbers(request, problems)
    readers = _check_models(request.get("models"), problems)
    test = _check_test(request, problems, cancelled, progress)
    if isinstance(request.get("benchmark"), dict):
        if any("system" in model or model.get("context") for model in objects(request.get("models"))):
            problems.append(Problem(tr("rivals answer test rows only, since a benchmark asks in a way of its own."),
                                    field="benchmark"))
        warnings += _check_benchmark(request["benchmark"], problems)
    judge_in_folder = request.get("judge") is not None and _check_judge(request["judge"], problems) > 0
    if request.get("device") == "vulkan" and (readers or judge_in_folder):
        problems.append(Problem(str(folder_without_vulkan()), field="device"))
    # An adapter reads as its base does: what is too long for both is told once.
    for reader in {(each.folder, each.template_text()): each for each in reversed(readers)}.values():
        tokens = request.get("max_new_tokens")
        if test is not None:
            check_system(request.get("system"), test.items, reader, problems)
        if test is not None and isinstance(tokens, int) and tokens > 0:
            warnings += check_context(test.items, reader, tokens, problems)
    if problems:
        raise UserError(tr("The evaluation can't start."), "", tr("Fix these problems."), problems)
    return Checked(test, (*(test.problems if test else ()), *warnings))


def _check_numbers(request: Mapping[str, Any], problems: list[Problem]) -> None:
    for name, least, may_be_empty in (("max_new_tokens", 1, False), ("limit", 1, True), ("batch_size", 1, True),
                                      ("seed", 0, True)):
        _need_whole(request.get(name), name, least, may_be_empty, problems)
    if request.get("precision") not in PRECISIONS.words:
        problems.append(Problem(tr("{value!r} isn't allowed; it must be one of {words}.",
                                   value=request.get("precision"), words=", ".join(PRECISIONS.words)),
                                field="precision"))
    if request.get("system") is not None and not isinstance(request["system"], str):
        problems.append(Problem(tr("it must be text."), field="system"))


def _need_whole(value: Any, name: str, least: int, may_be_empty: bool, problems: list[Problem]) -> None:
    if value is None and may_be_empty:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_ROWS:
        problems.append(Problem(
            tr("{value!r} isn't allowed; it must be a whole number of {least} or more, or empty.", value=value,
               least=least) if may_be_empty else
            tr("{value!r} isn't allowed; it must be a whole number of {least} or more.", value=value, least=least),
            field=name))


def _check_models(models: Any, problems: list[Problem]) -> list[Reader]:
    """The models in folders; what is wrong with any goes to `problems`."""
    if not isinstance(models, list) or not models:
        problems.append(Problem(tr("there is no model to evaluate."), field="models"))
        return []
    readers: list[Reader] = []
    names = [model.get("name") if isinstance(model, dict) else None for model in models]
    for number, model in enumerate(models, start=1):
        name = names[number - 1]
        if not isinstance(name, str) or not name.strip():
            problems.append(Problem(tr("model {number} has no name.", number=number), field="models"))
            continue
        if names.index(name) != number - 1:
            problems.append(Problem(tr('two models are called "{name}".', name=name), field="models"))
        _check_asked(model, name, problems)
        context = _check_model(model, name, problems)
        if context:
            readers.append(Reader(name, Path(model["model"]), context, model.get("chat_template") or "",
                                   model.get("adapter")))
    return readers


def _check_asked(model: Mapping[str, Any], name: str, problems: list[Problem]) -> None:
    """Its own system prompt, and the rows that it is shown."""
    if not isinstance(model.get("system", ""), str):
        problems.append(Problem(tr("the system prompt must be text."), field=name))
    if (context := model.get("context")) is None:
        return
    if not isinstance(context, dict) or context.get("kind") not in KINDS or not isinstance(context.get("rows"), str):
        problems.append(Problem(tr("its context must have a kind ({kinds}) and a file of rows.",
                                   kinds=", ".join(KINDS)), field=name))
        return
    _need_whole(context.get("k"), f"{name}: k", 1, False, problems)
    if (rows := Path(context["rows"])).is_absolute() and not rows.is_file():
        problems.append(Problem(tr("{path} doesn't exist.", path=rows), field=name))


def _check_model(model: Mapping[str, Any], name: str, problems: list[Problem]) -> int:
    """Tokens of its context, where it is a folder that can be read; 0 otherwise."""
    folder, adapter, gguf = (model.get(key) for key in ("model", "adapter", "gguf"))
    if bool(folder) == bool(gguf):
        problems.append(Problem(tr("it must be either a model folder or a GGUF file."), field=name))
        return 0
    if gguf and (missing := llama.trouble()) is not None:
        problems.append(Problem(str(missing), field=name))
        return 0
    try:
        if gguf:
            if not Path(gguf).exists():
                raise UserError(tr("{path} doesn't exist.", path=gguf), tr("It was moved or deleted."))
            read_sound_gguf(gguf)
            if adapter:
                check_fits(read_lora(adapter), Path(gguf))
            return 0
        context = read_model(str(folder)).context_length
        if adapter and not (Path(adapter) / "adapter_config.json").is_file():
            raise UserError(tr("{adapter} isn't an adapter.", adapter=adapter),
                            tr("It has no adapter_config.json; it was moved or deleted."))
        need_own_result(Path(adapter or str(folder)))
        return context
    except UserError as error:
        inner = "; ".join(map(str, error.problems))
        problems.append(Problem(" ".join(part for part in (error.what, error.why, inner) if part), field=name))
        return 0


def _check_test(request: Mapping[str, Any], problems: list[Problem],
                cancelled: Callable[[], bool] | None,
                progress: Callable[[int, int], None] | None) -> TestSet | None:
    path = request.get("test")
    if not path:
        if not request.get("benchmark"):
            why = request.get("no_test")
            problems.append(Problem(tr("there is no test file. {reason}", reason=why) if why else
                                    tr("there is no test file, and no benchmark."), field="test"))
        return None
    try:
        found = read_test_set(str(path), progress, cancelled, request.get("test_columns"))
        problems += filter(None, [doubt(found)])
        return found
    except ReadingCancelled:
        raise
    except UserError as error:
        count = len(error.problems)
        why = error.why if count < 2 else ntr("There is {n:,} problem:", "There are {n:,} problems:", count)
        problems.append(Problem(" ".join(part for part in (error.what, why) if part), field="test"))
        problems += error.problems[:SHOWN] if count > 1 else ()
        if count > SHOWN:
            problems.append(Problem(ntr("and {n:,} more.", "and {n:,} more.", count - SHOWN), field="test"))
        return None


def _check_benchmark(benchmark: Mapping[str, Any], problems: list[Problem]) -> list[Problem]:
    """Problems of a benchmark; returned are what is only worth knowing."""
    _need_whole(benchmark.get("limit"), tr("benchmark limit"), 1, True, problems)
    _need_whole(benchmark.get("shots"), tr("benchmark shots"), 0, True, problems)
    if not benchmark.get("name"):
        problems.append(Problem(tr("it has no name."), field="benchmark"))
    data = benchmark.get("data")
    if not data:
        _check_fetched(benchmark, problems)
        return []
    if benchmark.get("fetch"):
        problems.append(Problem(tr("its data can't be both downloaded and taken from a folder; choose one of the two."),
                                field="benchmark"))
    if not Path(str(data)).is_dir():
        problems.append(Problem(tr("{data} isn't a folder.", data=data), field="benchmark"))
        return []
    try:
        found = find_mmlu(Path(str(data)))
    except UserError:
        return []  # data of the hub's form; the worker knows it
    problems += _too_few_examples(benchmark, found)
    if benchmark.get("name") != "mmlu":
        return []
    problems += [Problem(each, field="benchmark") for each in found.incomplete]
    return [Problem(found.sentence(), field="benchmark")] if found.missing and not found.incomplete else []


def _too_few_examples(benchmark: Mapping[str, Any], found: MmluFolder) -> list[Problem]:
    """Which examples are wanted beyond those that the folder has; for other benchmarks, the worker looks itself."""
    name, shots = str(benchmark.get("name") or ""), benchmark.get("shots")
    known = examples(found) if isinstance(shots, int) and (name == "mmlu" or name.startswith("mmlu_")) else {}
    if name != "mmlu":
        known = {subject: count for subject, count in known.items() if name == f"mmlu_{subject}"}
    few = too_few(known, shots) if isinstance(shots, int) else None
    return [Problem(" ".join(few), field=tr("benchmark shots"))] if few else []


def _check_fetched(benchmark: Mapping[str, Any], problems: list[Problem]) -> None:
    name = str(benchmark.get("name") or "")
    try:
        if name and not benchmark.get("fetch") and benchmark_store.find(name) is None:
            raise benchmark_store.missing(name)
    except UserError as error:
        problems.append(Problem(f"{error.what} {error.why} {error.remedy}", field="benchmark"))


def _check_judge(judge: Any, problems: list[Problem]) -> int:
    """As `_check_model`."""
    if not isinstance(judge, dict):
        problems.append(Problem(tr("it must be a model with a rubric."), field="judge"))
        return 0
    context = _check_model(judge, "judge", problems)
    if not isinstance(judge.get("rubric"), str) or not judge["rubric"].strip():
        problems.append(Problem(tr("the rubric is empty; it says what a good answer is."), field="judge"))
    return context


def too_few(examples: Mapping[str, int], shots: int) -> tuple[str, str] | None:
    """Why a benchmark can't show this many examples before each question, and what can be done; None if it can.

    Args:
        examples: how many a subject has, besides its questions: with its own questions as examples, a model would be
            shown what it is asked.
    """
    short = {subject: count for subject, count in examples.items() if count < shots}
    if not short:
        return None
    subject = min(short, key=lambda each: (short[each], each))
    least = short[subject]
    why = [tr("{shots:,} examples are needed before each question, and {subject} has only {least:,} besides its "
              "questions.", shots=shots, subject=subject, least=least) if least else
           tr("Each question needs {shots:,} examples before it, and {subject} has only questions.",
              shots=shots, subject=subject)]
    if len(short) > 1:
        why.append(ntr("{n:,} more subject has too few.", "{n:,} more subjects have too few.", len(short) - 1))
    remedy = (tr("Ask with {least:,} or fewer (--shots {least}), or add examples to the data: in a folder like MMLU's, "
                 "rows of a dev file.", least=least) if least else
              tr("Ask without examples (--shots 0), or add examples to the data: in a folder like MMLU's, rows of a "
                 "dev file."))
    return " ".join(why), remedy
