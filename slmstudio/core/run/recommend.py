"""Which base model suits some rows on this machine: one that is recommended, a quicker and a better one, and why.

Nothing is decided by a model's name. What a model is worth for the rows is counted in doublings of its size, from the
catalogue's figures (`_worth`). What it costs is its time (`Suitability.score`). An answer holds codes and figures;
`reason_text` makes the sentences.
"""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import mean
from typing import Any

from slmstudio.core import units
from slmstudio.core.data import languages
from slmstudio.core.data.languages import LATIN
from slmstudio.core.data.layouts import objectives
from slmstudio.core.data.record import Record
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import join_sentences, number_text, tr
from slmstudio.core.model import catalogue, library
from slmstudio.core.model.catalogue import CatalogueEntry
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.model.library import ListedModel
from slmstudio.core.model.token_guess import PER_MESSAGE, tokens_per_row
from slmstudio.core.run import time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import fit_badge, formula
from slmstudio.core.run.memory.formula import Judgement, MemoryEstimate
from slmstudio.core.run.planning.row_counts import covering
from slmstudio.core.run.run_fields import PREFERENCES
from slmstudio.core.run.time_estimate import TimeEstimate

EVENING = 4 * 3600.0
"""Seconds that a run may take to be done within an evening."""
SAMPLED, COUNTED = 300, 60
"""Rows that are looked at for their languages and lengths, and of them for their tokens."""
SHARE = 0.2
"""Share of the rows from which on their language counts as one that the model must know."""

# -- The rows.


@dataclass(frozen=True)
class Rows:
    """What a recommendation depends on.

    Attributes:
        objective: what is learned from them (`RunConfig.objective`).
        languages: ISO 639 codes, the most frequent first; empty if it isn't clear which they are.
        words: of a row, on average.
        longest: how many times longer than the average row all but the longest twentieth are at most.
        sample: some of them, to count their tokens; empty while nobody has chosen rows.
    """

    count: int
    objective: str = "sft"
    languages: tuple[str, ...] = ()
    words: float = 200
    longest: float = 2.0
    sample: tuple[Record, ...] = field(default=(), compare=False, repr=False)

    @property
    def language(self) -> str:
        """The names of their languages, as `language_names` has them; "" if it isn't clear which they are."""
        return language_names(self.languages)


USUAL, USUAL_TOKENS = Rows(1_000), 300.0
"""What is recommended for while no data is chosen, and the tokens of a row."""


def rows_of(records: Sequence[Record], layout: str) -> Rows:
    """What a recommendation depends on of these rows, by an even sample of them. Raises KeyError for another layout."""
    some = records[::max(1, len(records) // SAMPLED)]
    if not some:
        return USUAL
    lengths = sorted(sum(map(len, row.contents)) for row in some)
    return Rows(len(records), objectives(layout)[0], _languages(some),
                mean(len(text.split()) for row in some for text in row.contents) * mean(
                    len(row.contents) for row in some),
                lengths[math.ceil(0.95 * len(lengths)) - 1] / max(1.0, mean(lengths)),
                tuple(some[::max(1, len(some) // COUNTED)]))


def _languages(some: Sequence[Record]) -> tuple[str, ...]:
    found = Counter(code for row in some for code in {languages.guess(text) for text in row.contents} if code)
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
FEWEST, FEW = 1.5, 3.0
"""Tokens of a word in the vocabularies that suit a language best, and in those that have words of it."""


def _knowledge(entry: CatalogueEntry | None, rows: Rows, per_word: float) -> str:
    order = (KNOWN, LIKELY, UNSTATED, OTHER)
    return max((_knows(entry, code, per_word) for code in rows.languages), key=order.index,
               default=UNCLEAR if entry is not None and entry.language_count else UNSTATED)


def _knows(entry: CatalogueEntry | None, code: str, per_word: float) -> str:
    if entry is None or not entry.language_count:
        return LIKELY if code == "en" or (entry is None and per_word <= FEW) else UNSTATED
    speaks = entry.speaks(code)
    if speaks is None:
        return LIKELY if entry.has_most_languages else UNSTATED
    return KNOWN if speaks else OTHER


@lru_cache(maxsize=1024)
def _tokens(rows: Rows, spoken: tuple[str, ...], facts: ModelFacts) -> tuple[float, float]:
    """Tokens of a row, on average, and of a word."""
    if not rows.sample:
        return USUAL_TOKENS, FEWEST
    of_row = tokens_per_row(rows.sample, spoken, facts)
    around = PER_MESSAGE * mean(len(row.contents) for row in rows.sample)
    return of_row, max(0.0, of_row - around) / max(1.0, rows.words)


# -- A model for the rows.

DOWNLOAD_SPEED, PATIENCE = 10e6, 2_400.0
"""Bytes a second, an assumption; and seconds up to which twice the size is worth twice the time."""
LANGUAGE_WORTH = {KNOWN: 0.0, LIKELY: -0.25, UNCLEAR: 0.0, UNSTATED: -1.5, OTHER: -6.0}
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
        tokens_per_word: by its own tokenizer where it is here, else by the rule for its vocabulary (`token_guess`).
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
    length: int
    context: int
    download_bytes: int
    worth: float

    @property
    def score(self) -> float:
        """What it's worth, less what its time costs."""
        return self.worth - 2 * self.waiting

    @property
    def waiting(self) -> float:
        """Doublings of `PATIENCE` that training and a download take, each above the first a full one."""
        return math.log2(1 + (self.time.likely + self.download_bytes / DOWNLOAD_SPEED) / PATIENCE)

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
        """Whether nothing speaks against it, and it is done within an evening."""
        return not self.problem and self.time.likely <= EVENING

    def to_dict(self) -> dict[str, Any]:
        entry = self.model.entry
        return {
            "name": self.model.name, "title": self.model.title, "here": not self.download_bytes,
            "method": self.config.method, **self.time.to_dict(), "memory_bytes": self.need.high,
            "memory_free": self.free, "memory": self.judgement.reason, "language": self.language,
            "tokens_per_word": round(self.tokens_per_word, 2), "length": self.length, "context": self.context,
            "licence": self.model.licence,
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
    of_row, per_word = _tokens(rows, entry.languages if entry is not None else (), facts)
    knowledge = _knowledge(entry, rows, per_word)
    length, is_text, gpus = math.ceil(rows.longest * of_row), rows.objective == "text", machine.gpus
    free = (machine.free_on_cards(1) if gpus else machine.ram_free) or None
    for method in ("lora",) if facts.quantization else ("lora", "qlora"):
        config, need = fit_badge.usual(facts, machine, method, rows.count, fit_badge.LENGTH if is_text else
                                       covering(length), objective=rows.objective)
        judgement = formula.judge(need.low, need.high, free)
        if judgement.fits:
            break
    once = rows.objective in PREFERENCES or (is_text and rows.count >= 100)
    config.epochs = 1.0 if once else config.epochs
    time = time_estimate.training(facts, config, machine, rows.count, rows.count * of_row)
    return Suitability(
        model, config, time, need, free, judgement, knowledge, per_word, 0 if is_text else length,
        facts.context_length, 0 if model.folder is not None else model.disk_bytes,
        _worth(facts, entry, rows, config.method, knowledge, per_word, length)
        - (0.0 if model.folder is not None else 0.5 if online else 3.0))


def _worth(facts: ModelFacts, entry: CatalogueEntry | None, rows: Rows, method: str, knowledge: str, per_word: float,
           length: int) -> float:
    """What a model is worth for the rows, in doublings of size above a hundred million parameters.

    Rows in a language that it doesn't know make it worth a 64th, and twice as many tokens as another model needs half a
    doubling less. Later models read longer texts and have larger vocabularies, which stand for the age that the
    catalogue doesn't have. For answers, a model that has learned to answer is worth twice another one; for plain text
    it's the other one that is worth a little more. A licence without commercial use costs a doubling, and a base in 4
    bits half of one.
    """
    worth = math.log2(facts.parameters / 1e8) + LANGUAGE_WORTH[knowledge]
    worth -= 0.5 * max(0.0, math.log2(per_word / FEWEST)) if rows.languages else 0.0
    worth += 0.5 * min(1.0, max(-1.0, math.log2(facts.context_length / 8192)))
    worth += 0.25 * math.log2(facts.vocabulary_size / 1e5)
    worth -= 0.5 if method == "qlora" else 0.0
    answers = facts.has_chat_template
    worth -= (0.5 if answers else 0.0) if rows.objective == "text" else (0.0 if answers else 1.0)
    if entry is not None:
        worth -= {False: 1.0, None: 0.5, True: 0.0}[entry.licence.commercial] + (0.5 if entry.gated else 0.0)
    return worth - (2 * max(0.0, math.log2(length / facts.context_length)) if rows.objective != "text" else 0.0)


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
    is worth clearly more and is done within an evening, whose time counts half. Where something speaks against every
    model, that which has least against it is recommended. Tries the tokenizers of models that are here: for a thread.
    """
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
    return Recommendation(rows, best, max(quicker, key=lambda each: each.score, default=None),
                          max(better, key=lambda each: each.worth - each.waiting, default=None), rated)


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
    if not rows.sample:
        return ""
    language, number = rows.language, number_text(round(each.tokens_per_word, 1))
    if not language:
        return tr("It isn't clear which language your rows are in. Check that the model knows it.")
    if each.language == OTHER:
        other = language_names([code for code in rows.languages if _knows(each.model.entry, code, 9) == OTHER])
        return (tr("It isn't made for {language}, which your rows are in.", language=other) if other == language else
                tr("It isn't made for {language}, which some of your rows are in.", language=other))
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
        return tr("Read its terms before commercial use ({licence}).", licence=model.licence)
    if commercial:
        return tr("Commercial use is allowed ({licence}).", licence=model.licence)
    return tr("No commercial use ({licence}).", licence=model.licence)
