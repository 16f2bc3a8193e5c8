"""Whether a model's tokenizer, template and weights belong together.

A tokenizer of a few hundred bytes can ask for any amount of time (a regular expression that tries every way to cut a
text) or memory (a normalizer that makes ten characters of one, ten times over). So `try_out` runs in the process that
may run foreign code (`foreign_child`), a request for each trial, and the rest judges its report.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import join_sentences, noop, number_text, tr
from slmstudio.core.model import template_client, tokens
from slmstudio.core.model.chat_template import ChatTemplate, find_template, special_tokens
from slmstudio.core.model.facts import Examined
from slmstudio.core.model.json_files import printable, read_json_object, reported

PLAIN = "The answer is 42. Ask again, please: which office (open 9-5) helps?"
"""Every tokenizer must keep this; a difference in capital letters or white space is forgiven."""
LINES = "if ready:\n    print(1)\n\n\tdone"
SCRIPTS = {
    noop("Latin"): "Où est l'église? Größe, niño, žluťoučký kůň.",
    noop("Devanagari"): "जन्म प्रमाण पत्र कितने दिन में मिलता है? क्षत्रिय, १२३।",
    noop("Bengali"): "জন্ম সনদ কত দিনে পাওয়া যায়? ক্ষমা করবেন।",
    noop("Tamil"): "பிறப்புச் சான்றிதழ் எத்தனை நாட்களில் கிடைக்கும்?",
    noop("Telugu"): "జనన ధృవీకరణ పత్రం ఎన్ని రోజుల్లో వస్తుంది?",
    noop("Gujarati"): "જન્મનું પ્રમાણપત્ર કેટલા દિવસમાં મળે છે?",
    noop("Arabic"): "پیدائش کا سرٹیفکیٹ کتنے دن میں ملتا ہے؟ مرحبا بكم.",
    noop("Chinese"): "出生证明需要几天才能拿到？",
    noop("Cyrillic"): "Сколько дней нужно, чтобы получить справку?",
    noop("Emoji"): "Thanks 🙂 👍🏽 🇮🇳 👨‍👩‍👧",
}
LONG = tuple(text * (2_000 // len(text)) for text in ("a", " ", "0", "!", "\n", "ab ", "aA1 .", "क", "字", "\u200d"))
"""A regular expression that tries every way to cut a text takes forever on one of these."""
CHAT = ({"role": "user", "content": "Where is the office?"},
        {"role": "assistant", "content": "It is near the station."},
        {"role": "user", "content": "When does it open?"}, {"role": "assistant", "content": "It opens at nine."})
SHOWN = 5


def try_out(trial: str, folder: Path, tokenizer: Any, rows: int | None, ids: dict[str, list[int]]) -> dict[str, Any]:
    """One of the `_TRIALS`: a part of the `Report`.

    Args:
        rows, ids: as of `measure`.

    Raises:
        UserError: the tokenizer fails.
    """
    with _failures_in_words():
        if trial == "tokenizer":
            return _numbers(folder, tokenizer, rows, ids)
        if trial == "texts":
            return _texts(folder, tokenizer)
        marks = set(tokenizer.get_added_tokens_decoder()) | set(ids["eos_token"])
        return {"template": _template(folder, tokenizer, special_tokens(folder), marks)}


@contextlib.contextmanager
def _failures_in_words() -> Iterator[None]:
    try:
        yield
    except BaseException as error:  # the library is written in Rust: it raises `Exception` itself, or panics
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        said = printable(str(error).rstrip("."), 200)
        raise UserError(tr("tokenizer.json fails on ordinary text: {reason}.", reason=said)) from error


def _numbers(folder: Path, tokenizer: Any, rows: int | None, ids: dict[str, list[int]]) -> dict[str, Any]:
    """The ids of its tokens, held against the model's."""
    state = json.loads((folder / "tokenizer.json").read_bytes())
    base, added = tokenizer.get_vocab(with_added_tokens=False), tokenizer.get_added_tokens_decoder()
    own = base.keys() | {token["content"] for token in state.get("added_tokens") or ()}
    return {
        "tokens": tokenizer.get_vocab_size(), "highest": max(max(base.values(), default=-1), max(added, default=-1)),
        "special": {name: {"content": content, "id": tokenizer.token_to_id(content), "own": content in own}
                    for name, content in special_tokens(folder).items() if content},
        "beyond": [] if rows is None else [number for number in base.values()
                                           if number >= rows and number not in added][:SHOWN],
        "beyond_added": [] if rows is None else [token.content for number, token in sorted(added.items())
                                                 if number >= rows][:SHOWN],
        "absent": {name: [number for number in numbers if number >= 0 and tokenizer.id_to_token(number) is None]
                   for name, numbers in ids.items()},
        "merges": _merges(state),
    }


def _texts(folder: Path, tokenizer: Any) -> dict[str, Any]:
    """Which texts come back as they went in; and long ones, which mustn't take forever."""
    unknown = tokenizer.token_to_id(special_tokens(folder).get("unk_token", "<unk>"))
    found = {"texts": {name: _kept(tokenizer, text, unknown) for name, text in SCRIPTS.items()},
             "plain": _kept(tokenizer, PLAIN, unknown, _bare), "lines": _kept(tokenizer, LINES, None)}
    for text in LONG:
        tokenizer.encode(text, add_special_tokens=False)
    return found


def _merges(state: dict[str, Any]) -> dict[str, int] | None:
    """Whether the merges of a BPE lead to its tokens: each longer one was made of two shorter ones when the tokenizer
    was trained.

    Returns:
        {"merges", "longer": tokens of several characters, "unmade": those that two tokens would make, and no merge
        does}; None of other kinds of tokenizers.
    """
    model = state["model"]
    if "merges" not in model:
        return None
    vocabulary, added = model["vocab"], {token["content"] for token in state.get("added_tokens") or ()}
    made = {"".join(merge) if isinstance(merge, list) else merge.replace(" ", "", 1) for merge in model["merges"]}
    longer = [token for token in vocabulary if len(token) > 1 and token not in added]
    unmade = sum(token not in made and any(token[:at] in vocabulary and token[at:] in vocabulary
                                           for at in range(1, len(token))) for token in longer)
    return {"merges": len(model["merges"]), "longer": len(longer), "unmade": unmade}


def _kept(tokenizer: Any, text: str, unknown: int | None, form: Any = str.strip) -> bool:
    """Whether a text comes back out of its tokens as it went in, none of them unknown."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return unknown not in ids and form(tokenizer.decode(ids, skip_special_tokens=False)) == form(text)


def _bare(text: str) -> str:
    return "".join(text.casefold().split())


def _template(folder: Path, tokenizer: Any, named: dict[str, str], marks: set[int]) -> dict[str, Any] | None:
    """How the folder's template ends an assistant's turns: {"ends": [[id, text] or None of each answer]}, or {"error",
    "refused": whether it works, and refuses the conversation}; None if there is no template.

    Args:
        marks: the ids that may end a turn: added tokens, and those that config.json calls EOS.
    """
    from slmstudio.core.model.template_sandbox import Refusal

    try:
        source = find_template(folder)
        if source is None:
            return None
        template = ChatTemplate(source, named)
        template.check()
        if template.omits_question():
            return {"error": tr("The chat template never shows the question to the model."), "refused": True}
        try:
            encoded = tokens.encode(CHAT, tokenizer, template)
        except UserError:
            template.render(CHAT[2:])  # whose error says whether it refuses the conversation
            encoded = tokens.encode(CHAT[2:], tokenizer, template)
    except UserError as error:
        return {"error": f"{error.what} {error.why}".strip(), "refused": isinstance(error.__cause__, Refusal)}
    ends = []
    for place, learned in enumerate(encoded.learned):
        if learned and not (encoded.learned[place + 1:place + 2] or [False])[0]:
            number = encoded.ids[place]
            ends.append([number, tokenizer.id_to_token(number)] if number in marks else None)
    return {"ends": ends, "highest": max(encoded.ids, default=-1)}


SECONDS = 3
"""Processor time allowed for each trial, in addition to what a large tokenizer.json takes."""
MOST_VALUES = 2_500_000
"""Values of tokenizer.json; Gemma 3's, with 262,144 tokens and 514,906 merges, has 1.4 million."""
OWN = noop("Put the model's own tokenizer.json in its place, or choose another model.")
REMEDIES = {"tokenizer": OWN, "template": noop("Choose a model with a different chat template.")}
"""What to do where a part of the folder doesn't work."""
_TRIALS = {
    "tokenizer": noop("The tokenizer was stopped while tokenizer.json was read."),
    "texts": noop("The tokenizer was stopped while it turned ordinary text into tokens."),
    "template": noop("The chat template was stopped while it was rendered."),
}
"""What is tried, in this order, and what is said when it was stopped at its limits."""

Report = dict[str, Any]
"""What the process has found: `tokens`, `highest` (the largest id), `special`, `beyond`, `beyond_added`, `absent`,
`merges`, `texts`, `plain`, `lines` and `template`; or `error`, and `trial`: what it did then, a key of `_TRIALS`."""
MOST_PADDING = 4_096
"""Embeddings are rounded up to a multiple of at most so many rows, so fewer have no token: of the models known here,
DeepSeek's have most, 2,385."""
UNMADE = 0.01
"""Share of a BPE's longer tokens that its merges needn't make: some are in a vocabulary for another reason. Healthy
tokenizers of Phi 3, Llama 3, Mistral, Qwen 2, TinyLlama and SmolLM2 have none; without 5,300 of its 61,249 merges,
Mistral's has from 3% (any) to 9% (the last ones)."""


def measure(folder: Path, rows: int | None, ids: Mapping[str, list[int]]) -> Report:
    """Have the tokenizer read and the template rendered in the process that may do that.

    Args:
        rows: of the embedding table; None if they aren't known.
        ids: of special tokens, as of `ids_of`.

    Raises:
        RuntimeError: the process failed for a reason of its own, which is a defect.
    """
    if _values(folder / "tokenizer.json") > MOST_VALUES:
        return {"error": tr("tokenizer.json has more than {most:,} values. No model has that many.", most=MOST_VALUES)}
    report: Report = {}
    for trial, stopped in _TRIALS.items():
        try:
            report |= template_client.ask(stopped, folder.name, SECONDS, do="trial", trial=trial,
                                          folder=str(folder.absolute()), rows=rows, ids=ids)
        except UserError as error:
            return {"error": f"{error.what} {error.why}".strip(), "trial": trial}
    return report


def _values(path: Path) -> int:
    """About how many values a JSON file holds, without reading it as such."""
    count = 0
    with open(path, "rb", opener=files.regular) as file:
        while block := file.read(2**20):
            count += block.count(b",")
    return count


def rows_of(examined: Examined) -> int | None:
    """Rows of the embedding table; None if they can't be told."""
    if examined.facts is None:
        return None
    embedding = None if examined.facts.quantization or not examined.weights else examined.weights.embedding()
    return min(examined.facts.vocabulary_size, embedding.shape[0]) if embedding else examined.facts.vocabulary_size


def ids_of(folder: Path, config: dict[str, Any] | None) -> dict[str, list[int]]:
    """The ids of BOS, EOS and padding that config.json and generation_config.json say, by name; "eos_token" has all."""
    # Where it's there and can't be read, `entries.check_references` has reported it.
    generation = reported([], read_json_object, folder / "generation_config.json") or {}
    found: dict[str, list[int]] = {}
    for name in ("bos_token", "eos_token", "pad_token"):
        for settings in (config or {}, generation):
            value = settings.get(f"{name}_id")
            listed = value if isinstance(value, list) else [value]
            found.setdefault(name, []).extend(number for number in listed if type(number) is int)
    return found


def judge_ids(report: Report, rows: int | None, ids: dict[str, list[int]], problems: list[Problem],
              warnings: list[str]) -> None:
    """Every token must have a row of the embeddings, and the special ones the ids that the model was trained with."""
    if rows is not None:
        _judge_rows(report, rows, ids, problems, warnings)
    for name, special in report["special"].items():
        kind, shown, known = name.removesuffix("_token").upper(), printable(special["content"], 40), ids.get(name, [])
        if not special["own"] and (rows is None or special["id"] < rows):
            warnings.append(tr("{kind} is {token}, which tokenizer.json doesn't have. It becomes token {id:,}, which "
                               "the model has never learned.", kind=kind, token=shown, id=special["id"]))
        elif known and special["id"] not in known and kind in ("BOS", "EOS"):
            said = tr("{kind} is {token} (token {id:,}) in the tokenizer, but token {ids} in config.json.", kind=kind,
                      token=shown, id=special["id"], ids=", ".join(map(number_text, dict.fromkeys(known))))
            warnings.append(f"{said} {tr('Answers might not end where they should.')}" if kind == "EOS" else said)


def judge_merges(report: Report, problems: list[Problem]) -> None:
    """The merges must lead to the tokens: without some of them, text is cut in ways that the model never learned."""
    found = report["merges"]
    if found and found["unmade"] > UNMADE * found["longer"]:
        said = tr("tokenizer.json is incomplete: its {merges:,} merges can't make {unmade:,} of its {longer:,} longer "
                  "tokens, so text would be split in ways that the model never learned.", **found)
        problems.append(Problem(f"{said} {tr(OWN)}"))


def mismatch(report: Report, rows: int | None, ids: dict[str, list[int]]) -> str | None:
    """Why the tokenizer seems to be another model's, though each of its tokens has a row; None if it doesn't.

    The weights were trained with the tokens that config.json names as BOS and EOS, and with one for about each row.
    """
    if rows is None:
        return None
    within = {name: {number for number in numbers if 0 <= number < rows} for name, numbers in ids.items()}
    absent = {name: numbers for name, numbers in within.items() if numbers and numbers <= {*report["absent"][name]}}
    if not absent.keys() & {"bos_token", "eos_token"} and rows - report["highest"] <= MOST_PADDING:
        return None
    said = tr("tokenizer.json seems to be another model's: it has {tokens:,} tokens, but the embeddings have {rows:,} "
              "rows.", tokens=report["tokens"], rows=rows)
    return join_sentences(said, *(tr("{key} in config.json is {ids}, and tokenizer.json has no such token.",
                                     key=f"{name}_id", ids=", ".join(map(number_text, sorted(numbers))))
                                  for name, numbers in absent.items()))


def _judge_rows(report: Report, rows: int, ids: dict[str, list[int]], problems: list[Problem],
                warnings: list[str]) -> None:
    named = {special["content"]: name for name, special in report["special"].items()}
    in_use = [token for token in report["beyond_added"] if token in named]
    template = report["template"] or {}
    if report["beyond"] or in_use or template.get("highest", -1) >= rows:
        said = tr("Tokenizer and weights don't belong together: tokenizer.json has ids up to {highest:,}, but the "
                  "embeddings have {rows:,} rows.", highest=report["highest"], rows=rows)
        problems.append(Problem(f"{said} {tr(OWN)}"))
    elif report["beyond_added"]:
        warnings.append(tr("Some added tokens have no row in the embeddings: {tokens}. A row of data that contains "
                           "one of them can't be learned.",
                           tokens=", ".join(printable(token, 40) for token in report["beyond_added"])))
    for name, numbers in ids.items():
        outside = [number for number in numbers if number >= rows or (number < 0 and name != "pad_token")]
        if outside:
            problems.append(Problem(tr("config.json or generation_config.json says that {key} is {id:,}, but the "
                                       "embeddings have {rows:,} rows. Put the model's own file in its place.",
                                       key=f"{name}_id", id=outside[0], rows=rows)))


def judge_texts(report: Report, problems: list[Problem], warnings: list[str]) -> None:
    """Plain English must survive; other scripts that don't are a fact about the model."""
    if not report["plain"]:
        said = tr("Plain English text doesn't come back out of the tokenizer as it went in.")
        problems.append(Problem(f"{said} {tr(OWN)}"))
        return
    lost = [tr(name) for name, kept in report["texts"].items() if not kept]
    if lost:
        warnings.append(tr("The tokenizer doesn't know all letters of these scripts, and loses text in them: "
                           "{scripts}. For data in them, choose another model.", scripts=", ".join(lost)))
    if not report["lines"]:
        warnings.append(tr("The tokenizer loses line breaks or spaces at the beginning of lines, which code and lists "
                           "need."))


def judge_template(report: Report, ids: dict[str, list[int]], problems: list[Problem], warnings: list[str]) -> None:
    """The template must render a conversation, and should end each answer with a token at which the model stops."""
    template = report["template"]
    if template is None:
        warnings.append(tr("The model has no chat template. Choose a named template before training, or the instruct "
                           "version of the model."))
        return
    if template.get("refused"):  # another template can be chosen, and takes turns that this one doesn't
        warnings.append(f"{template['error']} {tr('Choose a named chat template.')}")
        return
    if "error" in template:
        problems.append(Problem(f"{template['error']} {tr(REMEDIES['template'])}"))
        return
    ends = template["ends"]
    if not ends or None in ends:
        warnings.append(tr("The chat template doesn't end each answer with a token of its own. A model trained with it "
                           "may not know where to stop. Choose a named template."))
        return
    eos = report["special"].get("eos_token", {}).get("id")
    stops = {*ids["eos_token"], *([eos] if eos is not None else [])}
    if stops and ends[-1][0] not in stops:
        warnings.append(tr("The chat template ends answers with {token}, which config.json and the tokenizer don't "
                           "call the end. Chats may run on after an answer.", token=printable(ends[-1][1], 40)))


def scripts(report: Report) -> tuple[int, int]:
    """How many of the sample scripts are kept, and how many there are."""
    return sum(report["texts"].values()), len(SCRIPTS)
