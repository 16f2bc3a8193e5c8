"""Which base model suits some rows on this machine: one that is recommended, a quicker and a better one, and why.

Nothing is decided by a model's name. What a model is worth for the rows is counted in doublings of its size, from the
catalogue's figures (`_worth`). What it costs is its time: up to an hour, twice the size is worth twice the time. An
answer holds codes and figures; `reason_text` makes the sentences.
"""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

from slmstudio.core import units
from slmstudio.core.data import languages as guessing
from slmstudio.core.data.languages import LATIN
from slmstudio.core.data.layouts import objectives
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import join_sentences, number_text, tr
from slmstudio.core.model import catalogue, library, tokens
from slmstudio.core.model.catalogue import CatalogueEntry
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.model.library import ListedModel
from slmstudio.core.run import time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import fit_badge, formula, measured
from slmstudio.core.run.memory.formula import Judgement, MemoryEstimate
from slmstudio.core.run.planning.rates import usual_epochs
from slmstudio.core.run.planning.row_counts import covering
from slmstudio.core.run.time_estimate import TimeEstimate

EVENING = 4 * 3600.0
"""Seconds that a run may take to be done within an evening."""
SAMPLED, MEASURED_CHARACTERS = 300, 4_000
"""Rows that are looked at for their languages and lengths, and characters of them that a tokenizer is tried on."""
SHARE = 0.2
"""Share of the rows from which on their language counts as one that the model must know."""

# -- The rows.


@dataclass(frozen=True)
class Rows:
    """What a recommendation depends on.

    Attributes:
        objective: what is learned from them (`RunConfig.objective`).
        languages: ISO 639 codes, the most frequent first; empty if it isn't clear which they are.
        characters: of a row, on average; `long`: of all but the longest twentieth.
        word: characters of a word, with the blank after it.
        sample: the beginning of some, on which a tokenizer can be tried.
        is_usual: they stand for rows that nobody has chosen yet.
    """

    count: int
    objective: str = "sft"
    languages: tuple[str, ...] = ()
    characters: float = 1_200
    long: float = 2_400
    word: float = 6
    sample: str = ""
    is_usual: bool = False

    @property
    def language(self) -> str:
        """The names of their languages, as `language_names` has them; "" if it isn't clear which they are."""
        return language_names(self.languages)


USUAL = Rows(1_000, is_usual=True)
"""What is recommended for while no data is chosen: 1,000 rows of about 300 tokens."""


def rows_of(records: Sequence[Record], layout: str) -> Rows:
    """What a recommendation depends on of these rows, by an even sample of them. Raises KeyError for another layout."""
    some = [record.contents for record in records[::max(1, len(records) // SAMPLED)]]
    if not some:
        return USUAL
    lengths = sorted(sum(map(len, contents)) for contents in some)
    text = "\n".join(text[:MEASURED_CHARACTERS * 10 // len(some) + 40] for contents in some for text in contents)
    return Rows(len(records), objectives(layout)[0], _languages(some), mean(lengths),
                lengths[math.ceil(0.95 * len(lengths)) - 1], len(text) / max(1, len(text.split())),
                text[:MEASURED_CHARACTERS])


def _languages(some: Sequence[Sequence[str]]) -> tuple[str, ...]:
    found = Counter(filter(None, (guessing.guess(*contents) for contents in some)))
    if found["en"] * 2 >= found[LATIN]:  # short rows have few of English's short words
        found["en"] += found.pop(LATIN, 0)
    return tuple(code for code, rows in found.most_common() if rows >= SHARE * len(some) and code != LATIN)


def language_names(codes: Sequence[str]) -> str:
    """What people call these languages of the catalogue's models, without those that no model has."""
    names = [name for code in codes if (name := catalogue.languages().get(code))]
    return tr("{first} and {second}", first=names[0], second=names[1]) if len(names) == 2 else ", ".join(names)


# -- A model and the rows' language.

KNOWN, LIKELY, UNSTATED, OTHER, UNCLEAR = "known", "likely", "unstated", "other", "unclear"
"""Whether a model knows the rows' languages: its makers name them; they count a hundred languages or more without
naming them all, or its tokenizer has words of them; they don't say; they name others; or they name some, and it isn't
clear which the rows have."""
LARGE, FOR_EACH = 200_000, 4_000
"""Entries of a vocabulary that has words in all its languages, or that one has for each of them."""
CHARACTERS = {"latin": 4.0, "words": 2.5, "letters": 1.0, "bytes": 0.6}
"""Characters of a token, where nothing was measured: of Latin words; of words in another script that the vocabulary
has; of another script that it has letters of; and of one that it spells in bytes."""
WHOLE = 1.5
"""Characters of a token from which on a vocabulary has words of a script, not letters alone."""
AROUND = 20
"""Tokens that a chat template adds to a row."""


def _knowledge(entry: CatalogueEntry | None, rows: Rows, measured_characters: float | None) -> str:
    order = (KNOWN, LIKELY, UNSTATED, OTHER)
    return max((_knows(entry, code, measured_characters) for code in rows.languages), key=order.index,
               default=UNCLEAR if entry is not None and entry.language_count else UNSTATED)


def _knows(entry: CatalogueEntry | None, code: str, measured_characters: float | None) -> str:
    if entry is None or not entry.language_count:
        if code == "en":
            return LIKELY
        return LIKELY if (measured_characters or 0) >= WHOLE else UNSTATED
    speaks = entry.speaks(code)
    if speaks is None:
        return LIKELY if entry.has_most_languages else UNSTATED
    return KNOWN if speaks else OTHER


def _usual_characters(facts: ModelFacts, entry: CatalogueEntry | None, rows: Rows, knowledge: str) -> float:
    """Characters of a token by the vocabulary's size, where the tokenizer isn't there to be tried."""
    if not rows.languages or rows.languages[0] == "en":
        return CHARACTERS["latin"]
    if knowledge in (OTHER, UNCLEAR):
        return CHARACTERS["bytes"]
    share = facts.vocabulary_size / max(1, entry.language_count if entry is not None else 1)
    named = facts.vocabulary_size >= LARGE or (share >= FOR_EACH and knowledge != UNSTATED)
    return CHARACTERS["words" if named else "letters"]


@lru_cache(maxsize=256)
def _measured_characters(folder: Path, sample: str) -> float | None:
    """Characters of a token of these texts by the tokenizer of a folder; None if it has none that works."""
    if not sample or not (folder / "tokenizer.json").is_file():
        return None
    try:
        return len(sample) / max(1, len(tokens.load_tokenizer(folder).encode(sample, add_special_tokens=False).ids))
    except UserError:
        return None  # whoever opens the model is told what is wrong with it


# -- A model for the rows.

DOWNLOAD_SPEED = 5e6
"""Bytes a second: an assumption."""
LANGUAGE_WORTH = {KNOWN: 0.0, LIKELY: -0.25, UNCLEAR: 0.0, UNSTATED: -1.5, OTHER: -6.0}
FEWEST = 1.5
"""Tokens of a word in the vocabularies that suit a language best."""
CLEARLY = 0.5
"""Doublings by which a better model is worth more."""
OTHER_LANGUAGE, SHORT_CONTEXT, MEMORY = "other_language", "short_context", "memory"


@dataclass(frozen=True)
class Suitability:
    """What a model would be for some rows on a machine.

    Attributes:
        config: the run, as far as it is known before it is planned; `time`: of the whole run.
        need, free, judgement: its memory; `free` is None if nobody says.
        language: whether it knows the rows' languages, one of the words above.
        tokens_per_word: `is_measured` by its own tokenizer, or by the rule for its vocabulary.
        length: tokens of long rows; `context`: how many it reads.
        download_bytes: 0 for a model that is here.
        worth: for the rows, in doublings of size; `score`: less what it costs.
    """

    model: ListedModel
    config: RunConfig
    time: TimeEstimate
    need: MemoryEstimate
    free: int | None
    judgement: Judgement
    language: str
    tokens_per_word: float
    is_measured: bool
    length: int
    context: int
    download_bytes: int
    worth: float

    @property
    def score(self) -> float:
        """What it's worth, less what its time costs, that of a download included."""
        return self.worth - 2 * math.log2(1 + (self.time.likely + self.download_bytes / DOWNLOAD_SPEED) / 3600)

    @property
    def problem(self) -> str:
        """Why it can't be recommended: `OTHER_LANGUAGE`, `SHORT_CONTEXT` or `MEMORY`; "" if nothing speaks against
        it."""
        if self.language == OTHER:
            return OTHER_LANGUAGE
        if not self.judgement.fits and self.judgement.reason != formula.UNKNOWN:
            return MEMORY
        return SHORT_CONTEXT if self.length > self.context else ""

    @property
    def is_of_an_evening(self) -> bool:
        """Whether it fits in memory, and is done within an evening."""
        return self.judgement.fits and self.time.likely <= EVENING

    def to_dict(self) -> dict[str, Any]:
        entry = self.model.entry
        return {
            "name": self.model.name, "title": self.model.title, "here": not self.download_bytes,
            "method": self.config.method, **self.time.to_dict(), "memory_bytes": self.need.high,
            "memory_free": self.free, "memory": self.judgement.reason, "language": self.language,
            "tokens_per_word": round(self.tokens_per_word, 2), "tokens_measured": self.is_measured,
            "length": self.length, "context": self.context, "licence": self.model.licence,
            "commercial": entry.licence.commercial if entry else None, "kind": entry.kind if entry else None,
            "download_bytes": self.download_bytes, "problem": self.problem, "worth": round(self.worth, 2),
            "score": round(self.score, 2)}


def rate(model: ListedModel, rows: Rows, machine: Machine, online: bool = True) -> Suitability | None:
    """What a model would be for these rows; None if its sizes aren't known.

    Args:
        model: one with a folder is on this machine.
        online: whether others can be downloaded now.
    """
    facts, entry = model.facts, model.entry
    if facts is None:
        return None
    tried = _measured_characters(model.folder, rows.sample) if model.folder is not None else None
    knowledge = _knowledge(entry, rows, tried)
    characters = tried or _usual_characters(facts, entry, rows, knowledge)
    length, is_text = math.ceil(rows.long / characters) + AROUND, rows.objective == "text"
    context = (entry.context if entry is not None else None) or facts.context_length
    for method in ("lora",) if facts.quantization else ("lora", "qlora"):
        config, need = fit_badge.usual(facts, machine, method, fit_badge.LENGTH if is_text else covering(length),
                                       objective=rows.objective)
        device, free = measured.free_on(config, machine)
        judgement = formula.judge(need.low, need.high, free or None)
        if judgement.fits:
            break
    config.epochs = usual_epochs(rows.count, rows.objective, device == "cuda")
    spent = time_estimate.training(facts, config, machine, rows.count,
                                   rows.count * (rows.characters / characters + AROUND))
    return Suitability(
        model, config, spent, need, free, judgement, knowledge, rows.word / characters, tried is not None,
        0 if is_text else length, context, 0 if model.folder is not None else model.disk_bytes,
        _worth(facts, entry, rows, config.method, knowledge, rows.word / characters, length, context)
        - (0.0 if model.folder is not None else 0.5 if online else 3.0))


def _worth(facts: ModelFacts, entry: CatalogueEntry | None, rows: Rows, method: str, knowledge: str, per_word: float,
           length: int, context: int) -> float:
    """What a model is worth for the rows, in doublings of size above a hundred million parameters.

    Rows in a language that it doesn't know make it worth a 64th, and twice as many tokens as another model needs half a
    doubling less. Later models read longer texts and have larger vocabularies, which stand for the age that the
    catalogue doesn't have. For answers, a model that has learned to answer is worth twice another one; for plain text
    it's the other one that is worth a little more. A licence without commercial use costs a doubling, and a base in 4
    bits half of one.
    """
    worth = math.log2(facts.parameters / 1e8) + LANGUAGE_WORTH[knowledge]
    worth -= 0.5 * max(0.0, math.log2(per_word / FEWEST)) if rows.languages else 0.0
    worth += 0.5 * min(1.0, max(-1.0, math.log2(context / 8192))) + 0.25 * math.log2(facts.vocabulary_size / 1e5)
    worth -= 0.5 if method == "qlora" else 0.0
    answers = facts.has_chat_template
    worth -= (0.5 if answers else 0.0) if rows.objective == "text" else (0.0 if answers else 1.0)
    if entry is not None:
        worth -= {False: 1.0, None: 0.5, True: 0.0}[entry.licence.commercial] + (0.25 if entry.gated else 0.0)
    return worth - (2 * max(0.0, math.log2(length / context)) if rows.objective != "text" else 0.0)


@dataclass(frozen=True)
class Recommendation:
    """
    Attributes:
        recommended, quicker, better: None where there is none.
        rated: each model that was given, in the same order; None if its sizes aren't known.
    """

    rows: Rows
    recommended: Suitability | None
    quicker: Suitability | None
    better: Suitability | None
    rated: tuple[Suitability | None, ...]

    def to_dict(self) -> dict[str, Any]:
        rows = self.rows
        return {"rows": rows.count, "objective": rows.objective, "languages": list(rows.languages),
                **{name: each and each.to_dict() for name, each in
                   (("recommended", self.recommended), ("quicker", self.quicker), ("better", self.better))}}


def recommend(models: Sequence[ListedModel], rows: Rows, machine: Machine, online: bool = True) -> Recommendation:
    """Recommend the model with the highest score; a quicker one that takes at most half its time; and a better one that
    is worth clearly more and is done within an evening. Where something speaks against every model, that which has
    least against it is recommended. Tries the tokenizers of models that are here: for a thread."""
    rated = tuple(rate(model, rows, machine, online) for model in models)
    known = [each for each in rated if each is not None]
    fitting = [each for each in known if not each.problem]
    best = max(fitting or [each for each in known if each.problem != MEMORY], key=lambda each: each.score,
               default=min(known, key=lambda each: each.need.high, default=None))
    if best is None or not fitting:
        return Recommendation(rows, best, None, None, rated)
    others = [each for each in fitting if online or not each.download_bytes]
    quicker = [each for each in others if each.time.likely <= best.time.likely / 2]
    better = [each for each in others if each.worth >= best.worth + CLEARLY and each.is_of_an_evening]
    return Recommendation(rows, best, max(quicker, key=lambda each: each.worth, default=None),
                          max(better, key=lambda each: each.worth, default=None), rated)


def models_here_and_known() -> list[ListedModel]:
    """Models on this machine and those of the catalogue; the starter counts as here before it's unpacked, too."""
    found = library.listed()
    starter = catalogue.find(library.STARTER_NAME) if library.starter_gguf() is not None else None
    return [*found.on_disk, *(
        replace(each, folder=library.starter_folder()) if starter is not None and each.entry == starter else each
        for each in found.catalogue)]


def is_online() -> bool:
    """Whether this machine has an address in a network. Nothing is sent."""
    import psutil

    return any(each.family == socket.AF_INET and not each.address.startswith(("127.", "169.254."))
               for addresses in psutil.net_if_addrs().values() for each in addresses)


# -- What people read.


def reason_text(each: Suitability, rows: Rows) -> str:
    """Why a model suits the rows, or doesn't, in a few sentences."""
    return join_sentences(language_text(each, rows), memory_text(each), licence_text(each.model))


def language_text(each: Suitability, rows: Rows) -> str:
    """Whether a model knows the rows' language; "" while no data is chosen."""
    if rows.is_usual:
        return ""
    language, number = rows.language, number_text(round(each.tokens_per_word, 1))
    if not language:
        return tr("It isn't clear which language your rows are in. Check that the model knows it.")
    if each.language == OTHER:
        other = language_names([code for code in rows.languages if _knows(each.model.entry, code, None) == OTHER])
        return tr("It isn't made for {language}, which your rows are in.", language=other)
    if each.language == UNSTATED:
        return tr("Its makers don't say whether it knows {language}.", language=language)
    if each.language == LIKELY:
        return tr("It probably knows {language}, and needs about {number} tokens per word.", language=language,
                  number=number)
    return tr("It knows {language}, and needs about {number} tokens per word.", language=language, number=number)


def memory_text(each: Suitability) -> str:
    """How much memory training takes, of how much."""
    needs, context = units.format_bytes(each.need.high), number_text(each.context)
    if each.free is None:
        return tr("It needs up to {needs} of memory.", needs=needs)
    free = units.format_bytes(each.free)
    if not each.judgement.fits:
        return tr("It needs up to {needs} of memory, and {free} is free.", needs=needs, free=free)
    if each.length > each.context:
        return tr("It reads {context} tokens at most, and your long rows have {length}.", context=context,
                  length=number_text(each.length))
    return tr("It fits with room to spare ({needs} of {free}).", needs=needs, free=free)


def licence_text(model: ListedModel) -> str:
    """What its licence allows, in a short sentence."""
    commercial = model.entry.licence.commercial if model.entry is not None else None
    if commercial is None:
        return tr("Licence: {licence}. Read it before commercial use.", licence=model.licence)
    if commercial:
        return tr("Commercial use is allowed ({licence}).", licence=model.licence)
    return tr("No commercial use ({licence}).", licence=model.licence)
