"""What a plan says of its rows: those held back, too long, or counted from a sample, and the template they need."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shutil
from pathlib import Path

import pytest
from support import base_models, tool_rows
from support.machines import GB, machine
from support.tiers import first_fast
from support.tiny_model import with_token_beyond

from slmstudio.core import i18n
from slmstudio.core.data import reader, split
from slmstudio.core.errors import UserError
from slmstudio.core.i18n.catalogue import OPEN
from slmstudio.core.model import facts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning import plan_inputs, planner, row_counts
from slmstudio.core.run.planning.row_counts import MeasuredRows
from slmstudio.core.run.rows.row_tokens import RowTokens

SHORT = [{"instruction": f"What is {i}?", "output": "A number."} for i in range(40)]


def planned(tmp_path, tiny_model, rows, eval_file=None, **overrides) -> RunConfig:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return planner.configure(plan_inputs.PlanInputs(reader.read_dataset(file), facts.read_model(tiny_model), machine(),
                                            eval_file, overrides))


def longest_row(tmp_path, tiny_model) -> int:
    """Tokens of the longest row that was planned last."""
    dataset = reader.read_dataset(tmp_path / "rows.jsonl")
    return plan_inputs.measure_rows(dataset, facts.read_model(tiny_model)).lengths[-1]


@pytest.fixture
def few_measured(monkeypatch) -> None:
    """Of fifty rows already, only some are measured, as of many thousand."""
    for name, value in (("MOST_MEASURED", 50), ("SAMPLED", 10), ("LARGEST", 5)):
        monkeypatch.setattr(row_counts, name, value)


UNSEEN = "so overfitting can't be seen: add other rows, or choose a test file."
ROUGH = "so eval loss is a rough sign of overfitting at best; more rows or a test file would show it better."
OTHERS = [{**row, "instruction": f"{row['instruction']} {i}"} for i in range(3) for row in SHORT]


@pytest.mark.parametrize(("rows", "held", "said"), [
    (SHORT[:1], 0, f"The only row is used for training, {UNSEEN}"),
    (SHORT[:1] * 64, 0, f"The rows are too similar to hold some back, {UNSEEN}"),
    ([{"text": "A number."}] * 64, 0, f"The rows are too similar to hold some back, {UNSEEN}"),
    (SHORT[:2] * 32, 32, f"Only 1 distinct row is held back, {ROUGH}"),
    (SHORT, 4, f"Only 4 distinct rows are held back, {ROUGH}"),
    (OTHERS, 12, "Enough rows to see overfitting, and most rows are left for training."),
], ids=["one row", "equal rows", "equal texts", "two rows", "few rows", "enough rows"])
def test_what_is_said_of_the_rows_that_are_held_back_is_true(tmp_path, tiny_model, rows, held, said):
    config = planned(tmp_path, tiny_model, rows)
    assert config.reasons["eval_fraction"] == said
    assert f"over {len(rows) - held:,} {'row' if len(rows) - held == 1 else 'rows'}." in config.reasons["epochs"]
    assert [len(part) for part in split.split_evenly(reader.read_dataset(Path(config.train_file)).records,
                                              config.eval_fraction, config.split_seed)] == [len(rows) - held, held]
    for name in ("eval_file", "eval_steps", "early_stopping_patience", "use_best_checkpoint", "sample_prompts"):
        assert ("No rows are held back" in config.reasons[name] or "no rows are held back" in config.reasons[name]) == (
            held == 0), name


def test_of_many_rows_two_thousand_are_held_back_and_a_person_can_overrule_it(few_measured, tmp_path, tiny_model):
    rows = [{"instruction": f"What is {i}?", "output": "A number."} for i in range(25_000)]
    config = planned(tmp_path, tiny_model, rows)
    assert config.eval_fraction == 0.08
    assert config.reasons["eval_fraction"] == ("2,000 of 25,000 rows are enough to see overfitting; more would only "
                                               "make each evaluation take longer.")
    chosen = planned(tmp_path, tiny_model, rows, eval_fraction=0.1)
    assert chosen.eval_fraction == 0.1 and "over 22,500 rows" in chosen.reasons["epochs"]


@pytest.mark.parametrize(("chosen", "evaluations"), first_fast([
    ({}, 4), ({"eval_fraction": 0.25}, 2), ({"max_steps": 10}, 1), ({"max_steps": 10, "eval_fraction": 0.05}, 4)], 2))
def test_evaluations_read_no_more_rows_than_are_learned(few_measured, tmp_path, tiny_model, chosen, evaluations):
    """As far as one at the end and one before leave a choice, and but for a few rows, which take no time."""
    rows = [{"instruction": f"What is {i}?", "output": "A number."} for i in range(2_000)]
    config = planned(tmp_path, tiny_model, rows, **chosen)
    said = config.reasons["eval_steps"]
    assert said.startswith(f"{evaluations} evaluation") and ("over a third" in said) == (evaluations < 4), said


@pytest.mark.parametrize(("rows", "evaluations"), first_fast([(50, 4), (600, 2), (1_500, 1)]))
def test_the_rows_of_a_test_file_count_too(few_measured, tmp_path, tiny_model, rows, evaluations):
    learned, test = ([{"instruction": f"What is {i}?", "output": "A number."} for i in range(n)] for n in (2_000, rows))
    file = tmp_path / "test.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in test))
    said = planned(tmp_path, tiny_model, learned, eval_file=file).reasons["eval_steps"]
    assert said.startswith(f"{evaluations} evaluation") and ("over a third" in said) == (evaluations < 4), said
    dataset = reader.read_dataset(tmp_path / "rows.jsonl")
    inputs = plan_inputs.PlanInputs(dataset, facts.read_model(tiny_model), machine())
    config = planner.configure(dataclasses.replace(inputs, overrides={"eval_file": str(file)}))
    assert config.reasons["eval_steps"] == said
    counted = planner.configure(dataclasses.replace(inputs, eval_file=file, eval_rows=rows // 10))
    assert counted.reasons["eval_steps"].startswith("4 evaluations"), "its rows were counted already"


def test_reasons_are_in_the_language_of_who_plans(tmp_path, tiny_model):
    i18n.use(i18n.PSEUDO)
    config = planned(tmp_path, tiny_model, SHORT[:1])
    assert {name: reason for name, reason in config.reasons.items() if reason and not reason.startswith(OPEN)} == {}


def test_a_test_file_needs_no_rows_held_back(tmp_path, tiny_model):
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps(SHORT[0]) + "\n")
    config = planned(tmp_path, tiny_model, SHORT[:1], eval_file=test)
    assert config.reasons["eval_fraction"] == "Not used: the rows of the test file are evaluated."
    assert "No rows are held back" not in str(config.reasons)


LONG = [{"instruction": f"What is {i}? " + "Where do I report a broken street light? " * 10, "output": "A number."}
        for i in range(12)]
PAIRS = [{"prompt": row["instruction"], "chosen": "A number.", "rejected": "No."} for row in LONG]


@pytest.mark.parametrize("rows", [LONG, PAIRS], ids=["sft", "dpo"])
def test_a_length_at_which_no_answer_begins_is_refused_with_one_that_fits(tmp_path, tiny_model, rows):
    with pytest.raises(UserError) as refused:
        planned(tmp_path, tiny_model, rows, max_length=64)
    [problem] = refused.value.problems
    assert problem.field == "max_length"
    assert problem.message.startswith("No answer starts within 64 tokens, so there would be nothing to learn. Set ")
    fitting = int(re.search(r"Set max_length to (\d+), at which every row fits", problem.message)[1])
    assert fitting - 64 < longest_row(tmp_path, tiny_model) <= fitting
    assert planned(tmp_path, tiny_model, rows, max_length=fitting).max_length == fitting


def test_the_least_length_is_that_at_which_one_answer_begins(tmp_path, tiny_model):
    """Cut rows can still be learned from, so a plan may cut all of them."""
    def plans(length):
        try:
            return planned(tmp_path, tiny_model, LONG, max_length=length).max_length == length
        except UserError:
            return False

    assert plans(512)
    longest = longest_row(tmp_path, tiny_model)
    least = next(length for length in range(longest - 40, longest) if plans(length))
    assert least < longest - 1 and not plans(least - 1) and plans(least + 1)


def test_questions_longer_than_the_model_reads_are_refused(tmp_path, tiny_model):
    rows = [{**row, "instruction": row["instruction"] * 8} for row in LONG]
    with pytest.raises(UserError, match="No answer starts within 512 tokens, the most that this model can read"):
        planned(tmp_path, tiny_model, rows)


@pytest.mark.parametrize("overrides", [{"objective": "text"}, {"completion_only_loss": False}], ids=str)
def test_rows_that_are_learned_whole_may_be_cut_anywhere(tmp_path, tiny_model, overrides):
    assert planned(tmp_path, tiny_model, LONG, max_length=64, **overrides).max_length == 64


def plan_long_rows(tmp_path, tiny_model, billions=0.1, free=12 * GB, context=8192, **overrides):
    """Rows of Devanagari, of about 2,200 tokens each, the first of about 350."""
    rows = [{"instruction": f"{i}. " + "जन्म प्रमाण पत्र कितने दिन में मिलता है? " * (80 if i else 12),
             "output": "सात दिन में।"}
            for i in range(30)]
    file = tmp_path / "hindi.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = dataclasses.replace(facts.read_model(tiny_model), parameters=int(billions * 1e9), context_length=context,
                                hidden_size=576, intermediate_size=1536, layers=30, vocabulary_size=49_152)
    here = dataclasses.replace(machine(), ram_free=int(free))
    dataset = reader.read_dataset(file)
    measured = plan_inputs.measure_rows(dataset, model)
    config = planner.configure(plan_inputs.PlanInputs(dataset, model, here, None, overrides, measured))
    counts = row_counts.count(dataset.records, measured, config)
    return config, counts, row_counts.lost(dataset.records, measured, counts, model, config, here)


@pytest.mark.parametrize(("answer", "known"), [
    ("At the ward office, {} to six.", 0), ("At the ward office, ten to six.", 4), ("yes", 0)])
def test_held_out_rows_whose_answer_is_learned_are_counted(tmp_path, tiny_model, answer, known):
    config = planned(tmp_path, tiny_model, [{**row, "output": answer.format(i)} for i, row in enumerate(SHORT)])
    dataset = reader.read_dataset(tmp_path / "rows.jsonl")
    measured = plan_inputs.measure_rows(dataset, facts.read_model(tiny_model))
    counts = row_counts.count(dataset.records, measured, config)
    assert (counts.evaluated, counts.known_answers, counts.to_dict()["rows_with_known_answer"]) == (4, known, known)
    assert counts.known_text == (
        "4 of 4 held-out answers are learned too, so the verdict may look too good." if known else "")


def test_a_length_that_keeps_every_answer_is_proposed_where_there_is_memory(tmp_path, tiny_model):
    config, counts, lost = plan_long_rows(tmp_path, tiny_model)
    assert config.max_length > 1024 and config.max_length % 64 == 0
    assert (counts.learned, counts.cut, lost) == (27, 0, None)
    assert "over 27 rows." in config.reasons["epochs"] and f" in {counts.steps} steps" in config.reasons["eval_steps"]


@pytest.mark.parametrize("limit", [
    {"free": 1.4 * GB}, {"context": 1200}, {"max_length": 800}, {"context": 1200, "max_length": 800}], ids=str)
def test_what_would_be_lost_is_said_in_rows_with_the_ways_out(tmp_path, tiny_model, limit):
    config, counts, lost = plan_long_rows(tmp_path, tiny_model, **limit)
    assert counts.left_out == counts.cut == 26 and counts.learned == 1
    assert "over 1 row." in config.reasons["epochs"]
    assert lost.what == (f"26 of 27 rows have no answer within {config.max_length:,} tokens and won't be trained on.")
    assert lost.ways.endswith("Or start anyway; what doesn't fit is left out.")
    if "context" in limit:
        assert (config.max_length, lost.longer) == (limit.get("max_length", 1200), None)
        assert "this model reads at most 1,200" in lost.ways
    else:
        assert lost.whole == 26 and lost.longer > 1024 and lost.needs > 2**30
        assert f"With a sequence length of {lost.longer:,}, 26 of these rows are kept whole." in lost.ways


def test_rows_that_would_be_cut_can_be_left_out_instead(tmp_path, tiny_model):
    """The answer of each row begins within the length, and ends beyond it."""
    rows = [{"instruction": f"What is {i}?", "output": "A number. " * (1 if i % 3 else 90)} for i in range(30)]
    for fate in ("cut", "leave_out"):
        config = planned(tmp_path, tiny_model, rows, max_length=128, eval_fraction=0.0, overlong_rows=fate)
        dataset, model = reader.read_dataset(tmp_path / "rows.jsonl"), facts.read_model(tiny_model)
        rows_measured = plan_inputs.measure_rows(dataset, model)
        counts = row_counts.count(dataset.records, rows_measured, config)
        lost = row_counts.lost(dataset.records, rows_measured, counts, model, config, machine())
        left_out = 10 if fate == "leave_out" else 0
        assert (counts.learned, counts.cut, counts.left_out) == (30 - left_out, 10, left_out)
        assert (lost.leaves_out, lost.can_leave_out) == (fate == "leave_out", 10 - left_out)
        assert lost.what == ("10 of 30 rows are longer than 128 tokens and won't be trained on." if left_out else
                             "10 of 30 rows are longer than 128 tokens and will be cut at their end.")
        assert lost.ways.endswith("Or start anyway; what doesn't fit is left out." if left_out else
                                  "Or leave these rows out, or start anyway; what doesn't fit is cut off.")


def test_a_length_at_which_every_row_is_left_out_is_refused(tmp_path, tiny_model):
    rows = [{"instruction": "What is it?", "output": "A number. " * 90}] * 3
    with pytest.raises(UserError) as refused:
        planned(tmp_path, tiny_model, rows, max_length=128, overlong_rows="leave_out")
    assert [problem.field for problem in refused.value.problems] == ["max_length"]
    assert planned(tmp_path, tiny_model, rows, max_length=128).max_length == 128


@pytest.mark.parametrize(("overlong", "learned"), [(3, 117), (60, 60)])
def test_rows_left_out_of_a_large_dataset_are_estimated(few_measured, tmp_path, tiny_model, overlong, learned):
    """Three are all among those with the most text; of sixty most aren't measured."""
    long = random.Random(1).sample(range(120), overlong)
    rows = [{"instruction": f"What is {i}?" + " Why?" * (90 if i in long else 0), "output": "A number."}
            for i in range(120)]
    config = planned(tmp_path, tiny_model, rows, max_length=64, overlong_rows="leave_out", eval_fraction=0.0)
    dataset = reader.read_dataset(tmp_path / "rows.jsonl")
    counts = row_counts.count(dataset.records, plan_inputs.measure_rows(dataset, facts.read_model(tiny_model)), config)
    assert counts.learned == pytest.approx(learned, abs=20 if overlong > 5 else 0)


def test_of_a_large_dataset_the_longest_rows_are_measured(few_measured, tmp_path, tiny_model):
    rows = [{"instruction": f"What is {i}?" + " Why?" * (60 if i == 77 else 0), "output": "A number."}
            for i in range(120)]
    config = planned(tmp_path, tiny_model, rows)
    dataset, model = reader.read_dataset(tmp_path / "rows.jsonl"), facts.read_model(tiny_model)
    measured = plan_inputs.measure_rows(dataset, model)
    counts = row_counts.count(dataset.records, measured, config)
    assert len(measured.found) < 20 and 77 in measured.found and config.max_length >= measured.lengths[-1]
    assert (counts.learned + counts.evaluated, counts.exact) == (120, False)


def test_a_model_without_tools_is_named_before_the_run(tmp_path, tiny_model):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in SHORT))
    plain = reader.read_dataset(file)
    mixed = dataclasses.replace(plain, records=[*plain.records, *tool_rows.RECORDS], layout="messages")
    model = facts.read_model(tiny_model)
    for given in (None, MeasuredRows(dict.fromkeys(range(44), RowTokens(30, 20)), 44)):
        with pytest.raises(UserError) as caught:
            planner.configure(plan_inputs.PlanInputs(mixed, model, machine(), None, {}, given))
        assert caught.value.what == "4 of 44 rows have tools. The chat template of tiny doesn't support tools."
        assert caught.value.remedy == ("Choose a model whose chat template supports tools, such as Qwen 2.5 or Llama "
                                       "3.1, or remove the rows with tools.")
    folder = shutil.copytree(tiny_model, tmp_path / "with tools")
    (folder / "chat_template.jinja").write_text(tool_rows.template("qwen2_5"), encoding="utf-8")
    able = facts.read_model(folder)
    measured = plan_inputs.measure_rows(mixed, able)
    lengths = [row.length for row in measured.found.values()]
    assert min(lengths[-4:]) > max(lengths[:-4])  # the tools count
    assert planner.configure(plan_inputs.PlanInputs(mixed, able, machine(), None, {}, measured)).objective == "sft"


@pytest.fixture
def base(tmp_path, tiny_model) -> Path:
    return base_models.tiny(tiny_model, tmp_path / "base")


def test_a_base_model_gets_the_template_that_suits_it_best(tmp_path, base):
    rows = [{"instruction": f"What is {i}?", "output": "A number."} for i in range(8)]
    config = planned(tmp_path, base, rows)
    assert config.chat_template == "chatml"
    assert config.reasons["chat_template"] == (
        "The model has no chat template. Its vocabulary has the tokens <|im_start|>, <|im_end|>. <|im_end|> ends each "
        "turn.")
    texts = planned(tmp_path, base, [{"text": "Plain text."}] * 8)
    assert (texts.chat_template, texts.reasons["chat_template"]) == ("", "Plain text needs none.")


def test_a_template_that_a_person_chooses_is_taken_and_measured(tmp_path, base, tiny_model):
    rows = [{"instruction": f"What is {i}?", "output": "A number."} for i in range(8)]
    config = planned(tmp_path, base, rows, chat_template="alpaca", method="full")
    assert (config.chat_template, config.reasons["chat_template"]) == ("alpaca", "You set this.")
    assert config.max_length > planned(tmp_path, base, rows, method="full").max_length  # its preamble is long
    # The row of its EOS token is empty, which an adapter can't change.
    assert "was never trained in this model" in planned(tmp_path, base, rows, chat_template="alpaca").reasons[
        "chat_template"]
    overruled = planned(tmp_path, tiny_model, rows, chat_template="zephyr").reasons["chat_template"]
    assert overruled.startswith("You set this. The model was trained with a chat template of its own.")
    own = planned(tmp_path, tiny_model, rows)
    assert (own.chat_template, own.reasons["chat_template"]) == ("", "The model's own, which it was trained with.")


@pytest.mark.parametrize(("chosen", "said"), [
    ("chat-ml", "'chat-ml' isn't allowed. It must be one of chatml, llama3, gemma, phi3, mistral, zephyr, vicuna, "
                "alpaca, or empty."),
    ("", "base has no chat template of its own. It must be one of chatml, llama3, gemma, phi3, mistral, zephyr, "
         "vicuna, alpaca.")])
def test_a_template_that_is_not_there_is_refused(tmp_path, base, chosen, said):
    rows = [{"instruction": f"What is {i}?", "output": "A number."} for i in range(8)]
    with pytest.raises(UserError, match="The plan can't be used") as told:
        planned(tmp_path, base, rows, chat_template=chosen)
    assert [(problem.field, problem.message) for problem in told.value.problems] == [("chat_template", said)]


def test_a_run_of_before_there_were_templates_by_name_opens():
    state = RunConfig("x", "m", "t").to_dict()
    del state["chat_template"]
    assert RunConfig.from_dict(state).chat_template == ""


@pytest.mark.parametrize("row", [{"instruction": "A", "output": "<picture> B"}, {"text": "A <picture>"},
                                 {"prompt": "A", "chosen": "B", "rejected": "<picture>"}], ids=["sft", "text", "dpo"])
def test_rows_with_a_token_that_has_no_embedding_are_refused(tmp_path, tiny_model, row):
    model = with_token_beyond(tmp_path / "m", tiny_model)
    rows = [{key: f"{key} {i}" for key in row} for i in range(12)]
    assert planned(tmp_path, model, rows).max_length
    with pytest.raises(UserError) as refused:
        planned(tmp_path, model, [*rows, row])
    [problem] = refused.value.problems
    assert (problem.message, problem.lines) == ("The model has no embedding for <picture>.", (13,))
