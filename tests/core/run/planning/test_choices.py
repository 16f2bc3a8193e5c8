"""Which ways to train are offered, which one is recommended, and that what a user decided always wins."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.machines import machine

from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.model import facts
from slmstudio.core.run.planning import choices
from slmstudio.core.run.planning.choices import NORMAL, QUICK, THOROUGH
from slmstudio.core.run.planning.plan_inputs import PlanInputs
from slmstudio.core.run.planning.row_counts import MeasuredRows
from slmstudio.core.run.rows.row_tokens import RowTokens

SLOW, FAST = dataclasses.replace(machine(ram_gb=16), physical_cores=2), machine(cpu_bf16=True)
CARD = machine(24, name="NVIDIA GeForce RTX 4090", capability=(8, 9))
ROWS = {
    "sft": lambda n: {"instruction": f"What is {n}?", "output": f"The number {n}, and then some more of it."},
    "pairs": lambda n: {"prompt": f"What is {n}?", "chosen": f"The number {n}.", "rejected": "No."},
    "text": lambda n: {"text": f"The number {n} is a number."},
    "alike": lambda n: {"instruction": "What is it?", "output": "A number."}}


@pytest.fixture
def offer(tmp_path, tiny_model, studio_home):
    """`offer(rows, machine, parameters in billions, kind of rows)`: rows of 60 tokens."""
    def make(count=200, here=SLOW, billions=0.135, kind="sft", evaluates=True, **overrides) -> choices.Choices:
        file = tmp_path / f"{kind}-{count}.jsonl"
        if not file.exists():
            file.write_text("".join(json.dumps(ROWS[kind](n)) + "\n" for n in range(count)))
        model = dataclasses.replace(facts.read_model(tiny_model), parameters=int(billions * 1e9))
        measured = MeasuredRows(dict.fromkeys(range(count), RowTokens(60, 20, kind == "text")), count)
        return choices.propose(PlanInputs(reader.read_dataset(file), model, here, None, overrides, measured), evaluates)

    return make


@pytest.mark.parametrize(("values", "offered", "recommended"), [
    ({"count": 30, "here": FAST}, {NORMAL, THOROUGH}, THOROUGH),
    ({"count": 300, "here": FAST}, {NORMAL, THOROUGH}, NORMAL),
    ({"count": 3000}, {QUICK, NORMAL, THOROUGH}, NORMAL),
    ({"count": 3000, "billions": 0.6}, {QUICK, NORMAL, THOROUGH}, QUICK),
    ({"count": 20_000, "billions": 1}, {QUICK, NORMAL}, QUICK),
    ({"count": 20_000, "billions": 70}, {NORMAL}, NORMAL),
    ({"count": 1000, "here": CARD, "billions": 1.5}, {NORMAL, THOROUGH}, NORMAL),
    ({"count": 300, "here": FAST, "kind": "pairs"}, {NORMAL, THOROUGH}, NORMAL),
    ({"count": 300, "here": FAST, "kind": "text"}, {NORMAL, THOROUGH}, NORMAL),
    ({"count": 100, "kind": "alike"}, {NORMAL}, NORMAL),
    ({"count": 2500, "here": CARD, "method": "full"}, {NORMAL}, NORMAL),
], ids=["30 rows", "300", "3,000", "an evening", "a week", "a year", "a card", "pairs", "text", "nothing held out",
        "nothing to add"])
def test_what_is_offered_and_recommended(offer, values, offered, recommended):
    found = offer(**values)
    assert set(found.offered) == offered and found.recommended == recommended
    assert list(found.offered) == [key for key in choices.LABELS if key in offered]


def test_each_choice_is_what_an_expert_would_do(offer):
    few, many, large = offer(200).offered, offer(3000).offered, offer(3000, CARD, 1.5).offered
    normal, thorough = few[NORMAL].plan.config, few[THOROUGH].plan.config
    assert thorough.epochs == 2 * normal.epochs and thorough.learning_rate == normal.learning_rate / 2
    assert thorough.eval_fraction == 0.2 and few[THOROUGH].plan.counts.evaluated > few[NORMAL].plan.counts.evaluated
    assert thorough.early_stopping_patience > 0 and "epochs" not in thorough.chosen
    quick, normal, thorough = (many[key] for key in (QUICK, NORMAL, THOROUGH))
    assert choices.QUICK_STEPS <= quick.plan.counts.steps <= normal.plan.counts.steps / 2
    assert quick.training.likely < normal.training.likely / 3 < thorough.training.likely / 3
    normal, thorough = large[NORMAL].plan.config, large[THOROUGH].plan.config
    assert thorough.lora_rank == 2 * normal.lora_rank
    assert thorough.learning_rate < normal.learning_rate, "a larger adapter, smaller steps"
    assert many[THOROUGH].overrides == {"epochs": 3.0}, "its adapter is large already"


def test_what_a_user_decided_wins(offer):
    found = offer(3000, lr="3e-5", rank="4", epochs="1.5")
    assert {(each.plan.config.learning_rate, each.plan.config.lora_rank, each.plan.config.epochs)
            for each in found.offered.values()} == {(3e-5, 4, 1.5)} and set(found.offered) == {NORMAL}
    assert set(offer(3000, max_steps="9").offered) <= {NORMAL, THOROUGH}, "the epochs decide nothing"
    with pytest.raises(UserError):
        offer(40, epochs="many")


def test_the_questions_before_and_after_are_part_of_the_time(offer):
    normal = offer(300).offered[NORMAL]
    assert normal.questions == 15 and normal.answering is not None
    assert normal.time.low == pytest.approx(normal.training.low + 2 * normal.answering.low)
    assert offer(30).offered[NORMAL].questions == 3, "no more than are held out"
    for values in ({"kind": "text"}, {"evaluates": False}, {"kind": "alike"}):
        normal = offer(300, **values).offered[NORMAL]
        assert normal.questions == 0 and normal.time == normal.training


def test_what_happens_is_said_in_three_lines(offer):
    normal = offer(300, FAST).offered[NORMAL]
    assert normal.course() == [
        ("Training: 136 steps, evaluated every 34; the best is kept. You can pause, close the window, or pull the "
         "plug.", normal.training),
        ("Answers: the model as it was and the trained one answer 15 held-out questions.",
         normal.answering.plus(normal.answering)),
        ("Verdict: one sentence says what came of it, and what to do next.", None)]
    assert [text.split(". ")[0] for text, _ in offer(100, FAST, kind="alike").offered[NORMAL].course()] == [
        "Training: 50 steps", "Answers: no question is asked.", "Then try the result in Chat."]


def test_sentences_say_what_each_brings(offer):
    few, many = offer(200).offered, offer(3000)
    assert few[NORMAL].text == "2 epochs. Stops when it no longer improves."
    assert few[THOROUGH].text == "4 epochs. More rows are held out, so the verdict is more reliable."
    assert many.offered[THOROUGH].text == "3 epochs. Stops when it no longer improves. Usually a little better."
    assert offer(3000, CARD, 1.5).offered[THOROUGH].text == (
        "3 epochs, adapter of rank 32: learns more detail, and needs more memory.")
    quick = many.offered[QUICK]
    rows = quick.plan.counts.steps * quick.plan.config.effective_batch_size
    assert quick.text == (f"Learns from about {rows:,} of 2,700 rows: shows whether they teach the model anything.")
    assert offer(100, kind="alike").offered[NORMAL].text == "2 epochs over all rows."
    assert offer(30, FAST).why == "The normal run has only 21 steps, and more of them take little time."
    assert offer(3000, billions=0.6).why.endswith("see first whether the rows teach the model anything.")
