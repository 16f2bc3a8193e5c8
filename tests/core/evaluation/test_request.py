"""An evaluation is proposed for a run, checked as a whole, and made into a job."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import model_files
from support.held_out_rows import asked
from support.kept import keep

from slmstudio.core import files, jobs
from slmstudio.core.chat.placement import folder_without_vulkan
from slmstudio.core.data import split
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.record import GROUP as split_group
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import request, rival_models
from slmstudio.core.evaluation.comparability import is_own
from slmstudio.core.evaluation.held_out import learned, learned_rows
from slmstudio.core.evaluation.request import model_at, precision_of
from slmstudio.core.evaluation.testset.reader import read_test_set
from slmstudio.core.hardware.machine import Gpu
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import run_rows, saving_rows

ROWS = [{"question": f"What is question {n}?", "answer": f"It is {n}.\n#### {n}", "subject": "odd" if n % 2 else "even"}
        for n in range(40)]


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def run(tmp_path):
    """`run(**fields)`: the folder of a run with an adapter, whose training file has 40 rows."""

    def make(text: str = lines(ROWS), result: str | None = "adapter", **fields) -> Path:
        model = model_files.write_model(tmp_path / "model", {"max_position_embeddings": 512})
        train = tmp_path / "train.jsonl"
        train.write_text(text, encoding="utf-8")
        config = RunConfig(**{"name": "helpdesk", "model": str(model), "train_file": str(train), "eval_fraction": 0.2,
                              "split_seed": 7, **fields})
        place = folder.create(config, tmp_path / "runs").folder
        if result:
            (place / result).mkdir()
            (place / result / "adapter_config.json").write_text("{}", encoding="utf-8")
        return place

    return make


def config_of(place: Path) -> RunConfig:
    return RunConfig.from_dict(jobs.Job(place).request())


@dataclass
class Asked:
    """An evaluation, as far as it matters whose rows it asked."""

    folder: Path
    request: dict
    created: float = 0.0

    @property
    def scores(self) -> dict:
        return {"test": {"path": self.request["test"]}}


def problems(asked: dict) -> list[str]:
    with pytest.raises(UserError) as caught:
        request.check(asked)
    assert caught.value.what == "The evaluation can't start."
    return [str(problem) for problem in caught.value.problems]


def test_a_run_is_tested_on_the_rows_it_held_out(run, tmp_path):
    asked = request.propose(run())
    train, held_out = split.split_evenly(read_dataset(tmp_path / "train.jsonl").records, 0.2, 7)
    items = read_test_set(asked["test"]).items
    assert [item.question for item in items] == [record.messages[0]["content"] for record in held_out]
    assert {item.category for item in items} <= {"odd", "even"} and {item.kind for item in items} == {"number"}
    assert Path(asked["test"]).parent == run().parent / Path(asked["test"]).parts[-3] / "jobs"
    assert [model["name"] for model in asked["models"]] == ["base", "tuned"]
    assert asked["models"][0]["adapter"] is None and Path(asked["models"][1]["adapter"]).name == "adapter"
    assert learned(read_dataset(asked["train_file"]).records, asked["train_split"]) == train
    checked = request.check(asked)
    assert checked.test is not None and len(checked.test.items) == 8 and checked.warnings == ()


@pytest.mark.parametrize("harm", ["another run's, with its manifest", "another's weights", "no manifest"])
def test_an_adapter_that_is_not_the_runs_is_refused(run, harm):
    place = run()
    adapter = place / folder.ADAPTER
    (adapter / "adapter_model.safetensors").write_bytes(b"learned")
    checkpoints.seal(adapter, 3)
    digest = files.sha256_of(adapter / checkpoints.MANIFEST)
    jobs.write_outcome(place, jobs.Outcome("finished", result={folder.RESULT_DIGEST: digest}))
    asked = request.propose(place)
    assert request.check(asked).test is not None
    if harm == "no manifest":
        (adapter / checkpoints.MANIFEST).unlink()
    else:
        (adapter / "adapter_model.safetensors").write_bytes(b"another")
    if harm.startswith("another run's"):
        checkpoints.seal(adapter, 3)
    said = problems(asked)
    assert said == [f"tuned: “adapter” in {place.name} isn't what this run trained. "
                    + ("Its files don't match its manifest. adapter_model.safetensors was changed after "
                       "it was saved." if "weights" in harm else
                       "Its manifest isn't the one that the run wrote.")]


@pytest.mark.parametrize("text", [
    json.dumps(ROWS), json.dumps(ROWS, indent=1), "[" + ",".join(map(json.dumps, ROWS)) + "]\n",
    lines([ROWS[0], {"oops": 1}, *ROWS[1:9], {"text": "another kind"}, *ROWS[9:]]) + "{broken\n",
    lines([*ROWS, *ROWS]),
])
def test_held_out_rows_of_any_file(run, tmp_path, text):
    asked = request.propose(run(text))
    _, held_out = split.split_evenly(read_dataset(tmp_path / "train.jsonl").records, 0.2, 7)
    found = [json.loads(line) for line in Path(asked["test"]).read_text(encoding="utf-8").splitlines()]
    assert [row["question"] for row in found] == [record.messages[0]["content"] for record in held_out]
    assert all(row in ROWS for row in found)


def test_a_run_that_keeps_no_rows_is_tested_on_those_that_it_did_not_learn(run, tmp_path):
    """Rows that were one row weren't kept on one side in its time."""
    asked = request.propose(run(lines([{"instruction": f"Add {n}.", "instances": [
        {"input": str(one), "output": str(n + one)} for one in (1, 2)]} for n in range(20)])))
    test = {record.contents for record in read_dataset(asked["test"]).records}
    taught = {record.contents for record in learned_rows({**asked, "train_run": None})[0]}
    assert len(test) == 8 and len(taught) == 32 and not test & taught


def test_the_held_out_file_stays_when_the_training_file_has_changed(run, tmp_path):
    place = run()
    asked = request.propose(place)
    (tmp_path / "train.jsonl").write_text(lines(ROWS[:5]), encoding="utf-8")
    assert request.propose(place)["test"] == asked["test"]
    Path(asked["test"]).unlink()
    again = request.propose(place)
    assert again["test"] is None and "has changed since this run was trained on it" in again["no_test"]
    assert any("has changed since this run" in problem for problem in problems(again))


@pytest.mark.parametrize("harm", ["edited", "deleted"])
def test_kept_rows_are_the_test_whatever_becomes_of_the_file(run, tmp_path, harm):
    place = run()
    before = Path(request.propose(place)["test"]).read_bytes()
    kept = keep(place, config_of(place))
    if harm == "edited":
        (tmp_path / "train.jsonl").write_text(lines(ROWS[:5]), encoding="utf-8")
    else:
        (tmp_path / "train.jsonl").unlink()
    shutil.rmtree(place / "jobs")
    asked = request.propose(place)
    assert Path(asked["test"]).read_bytes() == before and Path(asked["test"]).parent == place / "jobs"
    assert learned_rows(asked) == (kept.train, kept.source.sha256)
    assert request.check(asked).test is not None
    shutil.rmtree(place / run_rows.FOLDER)
    with pytest.raises(UserError) if harm == "deleted" else contextlib.nullcontext():
        learned_rows(asked)


def test_damaged_kept_rows_are_read_from_their_file_or_named(run, tmp_path):
    place = run()
    keep(place, config_of(place))
    (place / run_rows.FOLDER / "eval.jsonl.gz").write_bytes(b"")
    asked = request.propose(place)
    assert len(request.check(asked).test.items) == 8
    Path(asked["test"]).unlink()
    (tmp_path / "train.jsonl").write_text(lines(ROWS[:5]), encoding="utf-8")
    assert "has changed since this run was trained on it" in request.propose(place)["no_test"]


@pytest.mark.parametrize("harm", ["none", "edited", "deleted"])
def test_evaluation_rows_of_a_file_that_is_another_are_the_kept_ones(run, tmp_path, harm):
    file = tmp_path / "eval.jsonl"
    file.write_text(lines(ROWS[:3]), encoding="utf-8")
    place = run(eval_file=str(file))
    keep(place, config_of(place))
    if harm == "deleted":
        file.unlink()
    elif harm == "edited":
        file.write_text(lines(ROWS[:1]), encoding="utf-8")
    asked = request.propose(place)
    assert (asked["test"] == str(file)) == (harm == "none")
    assert [item.question for item in read_test_set(asked["test"]).items] == [row["question"] for row in ROWS[:3]]
    assert is_own(Asked(place / "jobs" / "evaluate-1", asked), str(file))
    assert asked["train_split"] is None, "all training rows were learned"


@pytest.mark.parametrize(("fields", "text", "words"), [
    ({"eval_fraction": 0.0}, lines(ROWS), "No rows were held out"),
    ({"objective": "text"}, lines([{"text": "Once upon a time."}] * 9), "is plain text"),
])
def test_runs_without_a_test(run, fields, text, words):
    asked = request.propose(run(text, **fields))
    assert asked["test"] is None and words in asked["no_test"]
    assert any(words in problem for problem in problems(asked))


def test_a_full_model_and_its_exports(run):
    place = run(result="model", method="full")
    (place / "exports").mkdir()
    for name in ("helpdesk-Q8_0.gguf", "helpdesk-again.gguf", "helpdesk-lora.gguf"):
        (place / "exports" / name).write_bytes(model_files.small_gguf())
    (place / "exports" / "broken.gguf").write_bytes(b"GGUF")
    asked = request.propose(place, exports=True)
    assert asked["models"][1] == {"name": "tuned", "model": str(place / "model"), "adapter": None, "gguf": None}
    names = [model["name"] for model in asked["models"]]
    assert len(names) == len(set(names)) and {"base", "tuned", "Q8_0", "broken"} <= set(names)
    assert len(request.propose(place)["models"]) == 2


def test_every_problem_is_told_at_once(run, tmp_path):
    asked = request.propose(run())
    (tmp_path / "bad.jsonl").write_text('{"question": "a"}\n{"question": "b", "answer": ""}\n', encoding="utf-8")
    gone = {"name": "gone", "model": None, "adapter": None, "gguf": "/nowhere/x.gguf"}
    asked |= {"test": str(tmp_path / "bad.jsonl"), "limit": 0, "max_new_tokens": "9", "precision": "int3", "seed": -1,
              "batch_size": True, "judge": {"model": None, "gguf": None, "rubric": " "},
              "models": [*asked["models"], gone, {**gone, "model": "x"}, {"model": "x"},
                         {"name": "far", "model": str(tmp_path / "none")},
                         {**asked["models"][1], "name": "other", "adapter": str(tmp_path)}]}
    found = "\n".join(problems(asked))
    for words in ("limit: 0", "max_new_tokens: '9'", "precision: 'int3'", "seed: -1", "batch_size: True",
                  "gone: /nowhere/x.gguf doesn't exist", 'two models are called "gone"',
                  "either a model folder or a GGUF file", "model 5 has no name", "none doesn't exist",
                  "isn't an adapter", "judge: it must be either a model folder", "the rubric is empty",
                  "has no row that can be used", "line 1: the reference is missing",
                  'line 2: "answer" is empty'):
        assert words in found, words


def test_model_folders_are_not_computed_by_vulkan(run):
    asked = {**request.propose(run()), "device": "vulkan"}
    assert problems(asked) == [f"device: {folder_without_vulkan()}"]


def test_what_is_said_of_the_columns_counts(run, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"x": "Q?", "y": ["a", "b"], "z": "B"}\n' * 3, encoding="utf-8")
    asked = {**request.propose(run()), "test": str(tmp_path / "t.jsonl")}
    request.check({**asked, "test_columns": "question=x,choices=y,answer=z"})
    assert 'There is no column "none"' in problems({**asked, "test_columns": "question=none,answer=y"})[0]


def test_a_test_file_that_is_not_sure_is_asked_about(run, tmp_path):
    places = ("Goa", "Pune", "Surat", "Delhi", "Mysuru", "Indore")
    rows = [{"c1": f"Which office in {place} gives out a certificate of birth?", "c2": place,
             "c3": f"The municipal office of {place} gives it out within seven days."} for place in places]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = {**request.propose(run()), "test": str(tmp_path / "t.jsonl")}
    line = "instruction=c1,output=c3"
    [problem] = problems(asked)
    assert problem.startswith("test: ") and f'"{line}"' in problem
    assert request.check({**asked, "test_columns": line}).test.items[0].references == (rows[0]["c3"],)
    own = request.propose(run(eval_file=asked["test"]))  # what a run was evaluated on isn't asked about again
    assert own["test_columns"] == line and len(request.check(own).test.items) == len(rows)


def test_nothing_to_do(run):
    asked = request.propose(run())
    assert problems({**asked, "models": []}) == ["models: there is no model to evaluate."]
    assert problems({**asked, "test": None, "no_test": None}) == ["test: there is no test file, and no benchmark."]
    assert problems({**asked, "test": "/nowhere.csv"})[0].startswith("test: /nowhere.csv doesn't exist.")


def test_rows_longer_than_the_context_are_told(run, tmp_path):
    """The tokenizer of this model has a token for each byte, and a context of 512."""
    asked = {**request.propose(run()), "max_new_tokens": 100}
    test = tmp_path / "test.jsonl"
    short, long = {"question": "Q?", "answer": "A."}, {"question": "x" * 400, "answer": "A."}
    fits = {"question": "x" * 350, "answer": "A."}
    test.write_text(lines([short, long, fits]), encoding="utf-8")
    warnings = request.check({**asked, "test": str(test)}).warnings
    assert {warning.line for warning in warnings} == {2}
    assert "more than the 512 that base can read, so the answer gets " in warnings[0].message
    test.write_text(lines([short, {"question": "x" * 600, "answer": "A."}, {"question": "x" * 99, "answer": "y" * 600},
                           long]), encoding="utf-8")
    skipped = [warning for warning in request.check({**asked, "test": str(test)}).warnings
               if "so the row is skipped" in warning.message]
    assert [warning.line for warning in skipped] == [2, 3] and "the reference 600" in skipped[1].message
    test.write_text(lines([{"question": "x" * 600, "answer": "A."}] * 2), encoding="utf-8")
    assert "no row fits in the context of base" in problems({**asked, "test": str(test)})[0]
    too_much = problems({**asked, "test": str(test), "max_new_tokens": 512})
    assert "leaves no room for a question" in too_much[0]


def test_a_benchmark_folder_with_a_subject_missing_is_told(run, tmp_path):
    asked = {**request.propose(run()), "test": None}
    data = tmp_path / "mmlu"
    (data / "test").mkdir(parents=True)
    (data / "test" / "anatomy_test.csv").write_text("Q?,a,b,c,d,A\n", encoding="utf-8")
    asked["benchmark"] = {"name": "mmlu", "data": str(data), "limit": None, "shots": None}
    warnings = request.check(asked).warnings
    [warning] = warnings
    assert "56 of MMLU's 57 subjects are missing in mmlu: abstract_algebra" in warning.message
    (data / "dev").mkdir()
    (data / "dev" / "virology_dev.csv").write_text("Q?,a,b,c,d,A\n", encoding="utf-8")
    assert problems(asked) == ["benchmark: There are no questions (a test file) for: virology.",
                               "benchmark: There are no examples (a dev file) for: anatomy."]
    bad = {**asked, "benchmark": {"name": "mmlu", "data": "/nowhere", "limit": 0, "shots": -1}}
    found = problems(bad)
    assert [text.split(":")[0] for text in found] == ["benchmark limit", "benchmark shots", "benchmark"]


def test_more_examples_than_a_benchmark_folder_has_are_told(run, tmp_path):
    proposed = {**request.propose(run()), "test": None}
    data = tmp_path / "mmlu"
    for part, rows in (("test", 4), ("dev", 3)):
        (data / part).mkdir(parents=True)
        (data / part / f"ward_rules_{part}.csv").write_text("question,A,B,C,D,answer\n" + "Q?,a,b,c,d,A\n" * rows,
                                                            encoding="utf-8")

    def asked(name: str, shots: int | None) -> dict:
        return {**proposed, "benchmark": {"name": name, "data": str(data), "limit": None, "shots": shots}}

    for name in ("mmlu", "mmlu_ward_rules"):
        [told] = problems(asked(name, 5))
        assert told.startswith("benchmark shots: 5 examples are needed before each question, and ward_rules has only 3")
        assert "Ask with 3 or fewer (--shots 3)" in told
        assert not request.check(asked(name, 3)).warnings and not request.check(asked(name, None)).warnings
    shutil.rmtree(data / "dev")
    [told] = problems(asked("mmlu", 1))
    assert "ward_rules has only questions" in told and "--shots 0" in told
    assert not request.check(asked("mmlu", 0)).warnings


def test_a_benchmark_without_data_says_how_they_are_fetched(run, studio_home):
    asked = {**request.propose(run()), "test": None, "benchmark": {
        "name": "arc_easy", "data": None, "limit": None, "shots": None}}
    [said] = problems(asked)
    for words in ("The data of arc_easy isn't on this machine", "Its size isn't known beforehand",
                  "slmstudio evaluate starter --benchmark arc_easy --fetch"):
        assert words in said
    assert request.check({**asked, "benchmark": {**asked["benchmark"], "fetch": True}}).test is None


def test_a_job_is_made_where_evaluations_lie(run, monkeypatch, tmp_path):
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    place = run()
    asked = request.propose(place)
    of_run, alone = request.create(asked, place), request.create(asked)
    assert of_run.folder.parent == place / "jobs" and of_run.folder.name.startswith("evaluate-")
    assert alone.folder.parent == tmp_path / "home" / "evaluations"
    assert of_run.request() == {"protocol": jobs.PROTOCOL, **asked}


def test_the_length_of_answers_is_measured(run, tmp_path):
    rows = [{"question": f"Q{n}?", "answer": "y" * 90} for n in range(600)]
    (tmp_path / "eval.jsonl").write_text(lines(rows), encoding="utf-8")
    asked = request.propose(run(eval_file=str(tmp_path / "eval.jsonl")))
    assert (asked["max_new_tokens"], asked["limit"]) == (160, 200)


def test_a_template_that_refuses_system_prompts_is_told_before_the_start(run, tmp_path):
    asked = {**request.propose(run()), "system": "Be brief."}
    assert len(request.check(asked).test.items) > 0
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}" \
        + model_files.CHATML
    (tmp_path / "model" / "chat_template.jinja").write_text(template, encoding="utf-8")
    assert problems(asked) == ["system: base: The chat template refuses system messages: No system role. Leave the "
                               "system prompt out."]
    assert len(request.check({**asked, "system": None}).test.items) > 0


def test_runs_model_folders_and_gguf_files_are_told_apart(run, tmp_path):
    """And a QLoRA run is held as it learned."""
    base, file = tmp_path / "base", tmp_path / "small-Q4_K_M.gguf"
    base.mkdir()
    (base / "config.json").write_text("{}")
    file.write_bytes(b"GGUF")
    assert model_at(base) == {"name": "base", "model": str(base), "adapter": None, "gguf": None}
    assert model_at(file) == {"name": "small-Q4_K_M", "model": None, "adapter": None, "gguf": str(file)}
    without = run(result=None, name="other")
    for work in (lambda: model_at(without), lambda: request.propose(without)):
        with pytest.raises(UserError, match="no result yet"):
            work()
    with pytest.raises(UserError, match="can't be used as a model"):
        model_at(tmp_path / "notes.txt")
    place = run(method="qlora")
    assert model_at(place) == {"name": "helpdesk", "model": str(tmp_path / "model"), "gguf": None,
                               "adapter": str(place / folder.ADAPTER), "load_in_4bit": True}
    assert [model["load_in_4bit"] for model in request.run_models(place, config_of(place), exports=False)] == [True] * 2


def test_the_precision_is_that_of_the_checkpoints_on_a_gpu(tmp_path, monkeypatch):
    new, old = (Gpu(0, "a card", 2**33, 2**33, capability) for capability in ((8, 6), (7, 5)))
    model = {"model": str(model_files.write_model(tmp_path / "model"))}
    assert precision_of([model], None) == "fp32"
    assert precision_of([model], new) == "bf16" and precision_of([model], old) == "fp16"
    wide = {"model": str(model_files.write_model(tmp_path / "wide", weights=model_files.safetensors(
        model_files.llama_tensors(dtype="F32"))))}
    assert precision_of([model, wide], new) == "fp32"
    half = {"model": str(model_files.write_model(tmp_path / "half", weights=model_files.safetensors(
        model_files.llama_tensors(dtype="F16"))))}
    assert precision_of([half], new) == "fp16" and precision_of([half, model], new) == "bf16"
    assert precision_of([{"model": str(tmp_path / "none")}, {"model": None}], new) == "bf16"
    monkeypatch.setattr(request, "FP16_OVERFLOWS", {"llama"})
    assert precision_of([model], new) == "bf16" and precision_of([model], old) == "fp32"


def test_rivals_are_the_same_models_asked_in_other_ways(run):
    asked = request.propose(run(), rivals=rival_models.NAMES, system="Be brief.")
    base, tuned, prompt, examples, retrieval, tuned_retrieval = asked["models"]
    context = {"kind": "retrieval", "k": 4, "rows": rival_models.ROWS}
    assert prompt == {**base, "name": "prompt", "system": "Be brief."}
    assert examples["context"] == {"kind": "examples", "k": 8, "rows": rival_models.ROWS}
    assert retrieval == {**base, "name": "retrieval", "system": "Be brief.", "context": context}
    assert tuned_retrieval == {**tuned, "name": "tuned_retrieval", "context": context}
    assert any(each.startswith("benchmark: rivals answer test rows only")
               for each in problems({**asked, "benchmark": {"name": "mmlu"}}))
    with pytest.raises(UserError, match="no rival called “magic”"):
        request.propose(run(), rivals=["magic"])


@pytest.mark.parametrize(("more", "found"), [
    ({"system": 7}, "prompt: the system prompt must be text."),
    ({"context": {"kind": "magic", "k": 3, "rows": "rows.jsonl"}}, "prompt: its context must have a kind"),
    ({"context": {"kind": "examples", "k": 0, "rows": "rows.jsonl"}}, "prompt: k: 0 isn't allowed"),
    ({"context": {"kind": "examples", "k": 1, "rows": "/nowhere/rows.jsonl"}}, "prompt: /nowhere/rows.jsonl doesn't"),
])
def test_what_a_model_is_shown_is_checked(run, more, found):
    asked = request.propose(run(), rivals=["prompt"], system="")
    asked["models"][-1].update(more)
    assert [each.startswith(found) for each in problems(asked)] == [True]


@pytest.mark.parametrize(("rows", "found"), [
    ([("Is it open?", "Yes."), ("Is it far?", "No.")] * 3, "Answer the question. Answer with one of these, and nothing "
                                                           "else: No., Yes.. Answer in the language of the question."),
    ([(f"What is the number {n}?", f'{{"number": {n}}}') for n in range(20)], "with these keys: number."),
    ([("Is the office open today?", "It is open."), ("क्या यह खुला है?", "हाँ, यह खुला है।")] * 9 + [
        ("office khula hai kya", "हाँ, यह खुला है।")] * 9, "Answer in the language of the question."),
    ([(f"What is the word for {n}?", f"संख्या {n} का शब्द यह है") for n in range(20)],
     "Answer the question. Answer briefly, in about 6 words. Answer in Hindi."),
])
def test_a_proposed_system_prompt_says_what_answers_look_like(rows, found):
    records = [asked(*row) for row in rows]
    assert rival_models.proposed_system(records).find(found) >= 0
    own = [asked(*row, system="You are a clerk.") for row in rows]
    assert rival_models.proposed_system(own).startswith("You are a clerk. Answer")


def test_a_trial_asks_the_rows_that_a_run_holds_out(tmp_path, studio_home):
    model = model_files.write_model(tmp_path / "model", {"max_position_embeddings": 512})
    file = tmp_path / "rows.jsonl"
    rows = [{"question": f"What is question {n}?", "answer": f"It is {n}.", split_group: str(n // 3)}
            for n in range(60)]
    file.write_text(lines(rows))
    trial = request.propose_trial(file, model, rows=4)
    assert [each["name"] for each in trial["models"]] == ["base", "prompt", "retrieval"] and trial["limit"] == 4
    own = saving_rows.read(RunConfig(name="x", model=str(model), train_file=str(file)))
    asked_rows = {item.question for item in read_test_set(trial["test"]).items}
    assert asked_rows == {record.messages[0]["content"] for record in own.evaluation}
    assert {each.line for each in learned_rows(trial)[0]} == {each.line for each in own.train}
    assert request.create(trial).folder.is_dir()
