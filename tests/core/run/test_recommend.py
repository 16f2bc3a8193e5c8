"""Which model is recommended: simulated datasets and machines, with what somebody who knows the field would accept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from slmstudio.core.data.record import Record
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.model import catalogue
from slmstudio.core.model.library import ListedModel
from slmstudio.core.run import recommend as recommending
from slmstudio.core.run.recommend import Recommendation, Rows, Suitability, recommend, rows_of
from slmstudio.core.units import format_bytes

GB = 2**30
STARTER = "HuggingFaceTB/SmolLM2-135M-Instruct"


def machine(*cards: float, cores: int = 6, ram: float = 14, bf16: bool = True) -> Machine:
    """A machine with these cards, of GB, of which a desktop takes 0.6."""
    gpus = tuple(Gpu(number, f"NVIDIA card {size}", int(size * GB), int((size - 0.6) * GB), (8, 6))
                 for number, size in enumerate(cards))
    return Machine("Linux", "CPU", cores, 2 * cores, int(2 * ram * GB), int(ram * GB), gpus, bf16, False)


SMALL_CPU = machine(cores=2, ram=6)
LAPTOP, CARD_8, CARD_12, CARD_16, CARD_24 = map(machine, (4, 8, 12, 16, 24))


TEXTS = {"en": "When does the office open? ", "hi": "कार्यालय कब खुलता है? ", "mr": "कार्यालय कधी उघडते आहे? ",
         "ta": "அலுவலகம் எப்போது திறக்கும்? ", "or": "କାର୍ଯ୍ୟାଳୟ କେବେ ଖୋଲେ? ", "zh": "办公室 什么时候 开门？ ",
         "": "Die Post öffnet um zehn. "}


def record(question: str, answer: str) -> Record:
    return Record(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), 1)


def rows(count: int, language: str, characters: int, objective: str = "sft", longest: float = 2.0) -> Rows:
    text = (TEXTS[language] * (characters // 10))[:characters]
    return Rows(count, objective, (language,) if language else (), len(text.split()), longest,
                (record(text[:characters // 2], text[characters // 2:]),))


@dataclass(frozen=True)
class Case:
    """Parameters, in billions, between which an expert would choose, and what else such a choice has."""

    rows: Rows
    machine: Machine
    recommended: tuple[float, float]
    minutes: tuple[float, float]
    method: str = "lora"
    quicker: tuple[float, float] | None = None
    better: tuple[float, float] | None = None
    here: tuple[str, ...] = ()
    online: bool = True


CASES = {
    # The likeliest user: any model of up to 4 B that knows Hindi, in 4 bits where it's a large one.
    "Hindi, 8 GB": Case(rows(1_000, "hi", 300), CARD_8, (0.9, 4.5), (1, 60), "lora qlora", quicker=(0.2, 1.8)),
    "30 Hindi rows, 8 GB": Case(rows(30, "hi", 300), CARD_8, (0.9, 4.5), (0, 10), "lora qlora", quicker=(0.2, 1.8)),
    "Hindi, 12 GB": Case(rows(1_190, "hi", 1_100), CARD_12, (0.9, 4.5), (5, 120), "lora qlora", quicker=(0.2, 1.8)),
    "Marathi, 12 GB": Case(rows(800, "mr", 400), CARD_12, (0.9, 4.5), (2, 90), "lora qlora", quicker=(0.2, 1.8)),
    "Tamil, 12 GB": Case(rows(500, "ta", 500), CARD_12, (0.9, 4.5), (2, 90), "lora qlora", quicker=(0.2, 2.6)),
    "Odia, 24 GB": Case(rows(2_000, "or", 300), CARD_24, (0.9, 8.5), (3, 180), "lora qlora", quicker=(0.2, 4.5)),
    "Chinese, 24 GB": Case(rows(300, "zh", 300), CARD_24, (3, 8.5), (1, 90), "lora qlora", quicker=(0.2, 4.5)),
    "classes in English, 8 GB": Case(rows(2_000, "en", 120), CARD_8, (1, 4.5), (1, 60), "lora qlora",
                                     quicker=(0.3, 1.8)),
    "code, 16 GB": Case(rows(1_000, "en", 1_600), CARD_16, (1.5, 8.5), (5, 180), "lora qlora", quicker=(0.3, 4.5)),
    "English, 24 GB": Case(rows(1_000, "en", 1_200), CARD_24, (3, 8.5), (5, 180), "lora qlora", quicker=(0.5, 4.5),
                           better=(6, 8.5)),
    "English, two cards": Case(rows(1_000, "en", 1_200), machine(24, 24), (3, 8.5), (5, 180), "lora qlora",
                               quicker=(0.5, 4.5)),
    # Rows that a small model takes hours for even on a good card.
    "100,000 rows, 24 GB": Case(rows(100_000, "en", 1_200), CARD_24, (0.1, 0.7), (30, 600)),
    "100,000 rows, no card": Case(rows(100_000, "en", 1_200), machine(), (0.1, 0.3), (600, 60_000)),
    "long documents, 24 GB": Case(rows(300, "en", 24_000, longest=1.7), CARD_24, (0.5, 4.5), (10, 240),
                                  "lora qlora", quicker=(0.2, 1.8), better=(1.5, 8.5)),
    "plain text, 24 GB": Case(rows(200, "en", 40_000, "text"), CARD_24, (0.9, 8.5), (5, 240), "lora qlora",
                              quicker=(0.1, 4.5)),
    "pairs, 16 GB": Case(rows(2_000, "en", 800, "dpo"), CARD_16, (0.9, 8.5), (3, 180), "lora qlora",
                         quicker=(0.1, 4.5)),
    "4 GB laptop": Case(rows(500, "en", 400), LAPTOP, (0.3, 2.6), (0, 40), "lora qlora", quicker=(0.1, 1.3)),
    # Without a card: what comes with the program, or what is hardly larger; Gemma where that knows no Hindi.
    "two cores": Case(rows(150, "en", 400), SMALL_CPU, (0.1, 0.7), (2, 120), here=(STARTER,)),
    "two cores, offline": Case(rows(150, "en", 400), SMALL_CPU, (0.13, 0.14), (2, 40), here=(STARTER,), online=False),
    "two cores, fp32, offline": Case(rows(150, "en", 400), machine(cores=2, ram=4, bf16=False), (0.13, 0.14), (5, 80),
                                     here=(STARTER,), online=False),
    "Hindi, two cores": Case(rows(150, "hi", 400), SMALL_CPU, (0.2, 1.1), (5, 200), here=(STARTER,)),
    "Hindi, two cores, offline": Case(rows(150, "hi", 400), SMALL_CPU, (0.2, 1.1), (5, 200), here=(STARTER,),
                                      online=False),
    "little memory": Case(rows(150, "en", 400), machine(cores=4, ram=2), (0.1, 0.7), (1, 60), "lora qlora"),
    # What is on the disk is taken where it is about as good; not a starter on a card that could do far more.
    "starter here, 12 GB": Case(rows(500, "en", 400), CARD_12, (1.5, 4.5), (1, 60), "lora qlora", here=(STARTER,),
                                quicker=(0.1, 1.8)),
    "Qwen here, offline, Hindi": Case(rows(500, "hi", 400), CARD_12, (1.5, 1.6), (1, 60), here=(
        STARTER, "Qwen/Qwen2.5-1.5B-Instruct"), online=False),
    "language not clear": Case(rows(500, "", 400), CARD_12, (1, 4.5), (1, 60), "lora qlora", quicker=(0.1, 1.8)),
    "no data, 12 GB": Case(recommending.USUAL, CARD_12, (1, 4.5), (3, 120), "lora qlora", quicker=(0.2, 1.8)),
}


def made(case: Case) -> Recommendation:
    models = [ListedModel(entry.facts(Path("/m") / entry.name), entry, Path("/m") if entry.id in case.here else None)
              for entry in catalogue.entries()]
    return recommend(models, case.rows, case.machine, case.online)


def told(each: Suitability | None) -> str:
    return "none" if each is None else (
        f"{each.model.title} ({each.config.method}, {each.time.likely / 60:.0f} min, "
        f"{format_bytes(each.need.high)}, {each.language}, worth {each.worth:.1f}, {each.score:.1f})")


@pytest.mark.parametrize("name", CASES)
def test_the_models_that_an_expert_would_choose(name: str):
    case = CASES[name]
    found = made(case)
    best = found.recommended
    all_three = "\n".join(map(told, (best, found.quicker, found.better)))
    for chosen, limits in ((best, case.recommended), (found.quicker, case.quicker), (found.better, case.better)):
        if limits is not None:
            assert chosen is not None, all_three
            assert limits[0] <= chosen.model.parameters / 1e9 <= limits[1], all_three
    assert best.problem == "" and best.config.method in case.method.split(), all_three
    assert case.minutes[0] <= best.time.likely / 60 <= case.minutes[1], all_three
    assert case.rows.objective == "text" or best.context >= best.length, all_three
    assert (best.model.entry.kind == "base") == (case.rows.objective == "text") or best.model.parameters < 3e8
    for other in (found.quicker, found.better):
        assert other is None or other.problem == ""
    assert found.quicker is None or found.quicker.time.likely <= best.time.likely / 2
    assert found.better is None or found.better.worth > best.worth


def test_what_a_model_knows_of_the_rows_language():
    def language(name: str, code: str) -> str:
        entry = catalogue.find(name)
        one = ListedModel(entry.facts(Path("/m")), entry, None)
        return recommending.rate(one, rows(100, code, 300), CARD_12).language

    assert language("Llama-3.2-3B-Instruct", "hi") == "known" and language("Llama-3.2-3B-Instruct", "ta") == "other"
    assert language("gemma-3-1b-it", "ta") == "likely" and language("SmolLM2-1.7B-Instruct", "hi") == "other"
    assert language("Qwen2.5-1.5B-Instruct", "hi") == "unstated" and language("Qwen3-4B", "") == "unclear"
    assert language("Mistral-7B-v0.3", "en") == "likely" and language("Mistral-7B-v0.3", "hi") == "unstated"


def test_a_tokenizer_that_is_here_is_tried(tiny_model: Path):
    from slmstudio.core.model.facts import read_model

    facts = read_model(tiny_model)
    found = recommending.rate(ListedModel(facts, None, tiny_model), rows(100, "hi", 300), CARD_12)
    away = replace(facts, path=Path("/m"), vocabulary_size=300_000)
    assert found.tokens_per_word > 3 and found.language == "unstated"
    assert recommending.rate(ListedModel(away, None, None), rows(100, "hi", 300), CARD_12).language == "likely"


def test_the_rows_are_looked_at():
    hindi = [record("कार्यालय कब खुलता है?", "दस बजे।")] * 70
    english = [record("When does the office open, and where is it?", "At ten.")] * 30
    found = rows_of(hindi + english, "instruction")
    assert (found.count, found.objective, found.languages) == (100, "sft", ("hi", "en")) and found.sample
    assert rows_of([record("Où est le bureau ?", "Ici.")] * 9, "instruction").languages == ()
    assert rows_of([record("Is it open?", "Yes."), record("Capital of Goa?", "Panaji.")], "instruction").languages == (
        "en",)


def test_nothing_fits_and_nothing_is_known():
    tight = made(Case(rows(100, "en", 400), machine(0.9), (0, 0), (0, 0)))
    assert tight.recommended.problem == "memory" and tight.quicker is tight.better is None
    assert recommend([], recommending.USUAL, CARD_8).recommended is None


def test_the_sentences():
    found = made(CASES["Hindi, 8 GB"])
    by_title = {each.model.title: each for each in found.rated if each is not None}
    said = recommending.reason_text(by_title[catalogue.find("gemma-3-1b-it").title], found.rows)
    assert said.startswith("It probably knows Hindi, and needs about ") and "It fits with room to spare (" in said
    assert said.endswith("of 7.4 GB). Commercial use is allowed (Gemma).")
    other = by_title[catalogue.find("Phi-3-mini-4k-instruct").title]
    assert recommending.language_text(other, found.rows) == "It isn't made for Hindi, which your rows are in."
    assert "isn't clear" in recommending.language_text(other, rows(1, "", 40))
    assert recommending.language_text(other, recommending.USUAL) == ""
