"""The page of runs that went well, badly, or not at all, and of runs whose names and rows are hostile."""

from __future__ import annotations

import json
import re

import pytest
from support.report_run import ReportRun, finished, parity, scores

from slmstudio.core import files, i18n, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.scoring import score
from slmstudio.core.i18n import catalogue as pseudo_locale
from slmstudio.core.jobs import processes
from slmstudio.core.report.page import write_report

SCRIPT = '<script>alert(1)</script><img src="https://example.org/x.png" onerror="alert(2)">'
TURNED = "invoice\u202efdp.exe"


def mmlu(difference: float, low: float, high: float) -> dict:
    """scores.json of a benchmark alone."""
    def model(name: str, value: float) -> dict:
        found = {"value": value, "low": value - 2, "high": value + 2, "rows": 200}
        return {"name": name, "accuracy": found, "by_subject": {"anatomy": {**found, "rows": 50}}}

    return {"protocol": 1, "created": scores()["created"] + 9, "test": None, "models": [], "comparisons": [],
            "judge": None, "benchmarks": [{
                "name": "mmlu", "title": "MMLU", "shots": 5, "limit": 50, "data": "/data/mmlu",
                "models": [model("base", 59.8), model("tuned", 59.1)], "sentence": "What MMLU said.",
                "comparisons": [{"of": "tuned", "with": "base", "difference": difference, "low": low, "high": high,
                                 "p": 0.2, "rows": 200}]}]}


def test_a_benchmark_alone_and_beside_a_test_set(run, page):
    run.evaluate("evaluate-mmlu", benchmark={"name": "mmlu"}, scores=mmlu(-0.7, -1.8, 0.4))
    shown = page(run.folder)
    assert "All 59.8 57.8 to 61.8 59.1 57.1 to 61.1 200 anatomy 59.8 57.8 to 61.8 59.1 57.1 to 61.1 50" in shown.text
    assert "Examples before each question: 5. At most 50 questions per subject." in shown.text
    assert '<li class="">General knowledge kept: MMLU −0.7 ± 1.1.</li>' in shown.html
    assert "No test set of your own was evaluated" in shown.text
    run.evaluate(scores={**scores(), "benchmarks": mmlu(-3, -5, -1)["benchmarks"], "created": scores()["created"] + 20},
                 benchmark={"name": "mmlu"}, test="questions.jsonl")
    shown = page(run.folder)
    assert '<li class="bad">General knowledge lost: MMLU ' in shown.html and "52.4 49.2 to 55.6" in shown.text


def test_the_page_speaks_the_language_of_the_moment(run, page):
    i18n.use("hi")
    hindi = page(run.folder)
    i18n.use(i18n.PSEUDO)
    pseudo = page(run.folder)
    assert '<html lang="hi" dir="ltr">' in hindi.html and "ट्रेनिंग रिपोर्ट" in hindi.text
    assert "रन पूरा हुआ।" in hindi.text and "क्या नहीं जाँचा गया" in hindi.text
    bare = {word for word in re.findall(r"<h[1-5][^>]*>([^<]+)<", pseudo.html) if pseudo_locale.OPEN not in word}
    assert bare <= {"pune helpdesk"}, "headings that can't be translated"


def test_scores_of_learned_and_of_new_rows_stand_apart(run, page):
    found = scores()
    for model in found["models"]:
        model["by_training"] = {"learned": model["scores"], "new": model["scores"]}
    run.evaluate(scores=found)
    text = page(run.folder).text
    assert "Learned Score base tuned Rows yes chrF++" in text and " no chrF++" in text


def test_the_summary_stands_first_in_plain_sentences(run, page):
    run.export(parity=parity())
    run.evaluate(scores=scores())
    text = page(run.folder).text
    begin = text[: text.index("What wasn't checked")]
    for words in ("Tiny-Instruct was tuned with LoRA: an adapter was trained, and the base model didn't change.",
                  "It learned to answer as its rows do: 312 rows of rows.jsonl.",
                  "48 rows of held_out.jsonl were held out: they were used only for measuring",
                  "The run finished. It completed 60 of 60 steps", "2.520 → 1.251", "−50%, lower is better",
                  "The exported file was proven to answer like the trained model.",
                  "questions.jsonl, tuned against base: better (52.4 against 21.3 chrF++, p < 0.001)"):
        assert words in begin, words


def test_what_was_not_checked_follows_from_what_was_done(run, page):
    text = page(run.folder).text
    assert "it wasn't evaluated on a test set" in text and "no benchmark was run" in text
    assert "Exports: there are none" in text and "its folder doesn't state one" in text
    assert "Not evaluated yet: nothing here says whether its answers are better" in text
    assert "Best and worst rows" not in text and "Nothing was exported." in text
    run.export(parity=parity())
    run.export("unproven")
    run.evaluate(scores=scores())
    run.evaluate("evaluate-mmlu", benchmark={"name": "mmlu"}, scores=mmlu(-0.7, -1.8, 0.4))
    text = page(run.folder).text
    for gone in ("it wasn't evaluated on a test set", "no benchmark was run", "Exports: there are none"):
        assert gone not in text
    assert "Whether unproven.gguf answers like the trained model" in text
    assert "helpdesk-Q4_K_M.gguf: these couldn't be measured: KL divergence." in text and "Benchmark: MMLU" in text


def test_what_nobody_may_overlook_stands_at_the_top(run, page):
    run.export("good", parity())
    run.evaluate(scores={**scores(), "test": {"path": "q.jsonl", "rows": 50, "trained_on": 0}})
    assert "callout bad" not in page(run.folder).html
    run.export("broken", {**parity(), "passed": False, "failures": ["The logits differ."]})
    run.evaluate("evaluate-newer", scores={**scores(), "created": scores()["created"] + 1})
    begin = page(run.folder).text.partition("was tuned with LoRA")[0]
    assert "broken.gguf doesn't answer like the trained model: its proof failed. Don't use it." in begin
    assert "The model was trained on 3 of 101 test rows of questions.jsonl." in begin


def test_a_judges_words_and_figures_are_told(run, page):
    pair = {"a": "base", "b": "tuned", "wins": [11, 67], "ties": 22, "sentence": "The judge prefers tuned: 67 to 11."}
    run.evaluate(scores={**scores(), "judge": {"model": "Judge-7B", "pairs": [pair]}})
    text = page(run.folder).text
    assert "The judge prefers tuned: 67 to 11." in text and "pairs[0].wins 11, 67" in text and "Judge-7B" in text
    assert "no judge read them" not in text


def test_a_crashed_run_names_its_cause(tmp_path, page):
    run = ReportRun(tmp_path)
    run.start()
    run.learn(1, 7)
    files.write_atomically(run.folder / jobs.PROCESS, json.dumps(
        {"pid": 2**22 - 3, "create_time": 1.0, "boot_id": processes.boot_id(), "oom_kills": 10**9}))
    text = page(run.folder).text
    assert "The run crashed: its process ended unexpectedly. It completed 7 of 60 steps" in text
    assert "The worker process ended unexpectedly." in text and "There is no outcome" not in text


def test_a_failed_run_shows_its_error_and_the_end_of_its_log(tmp_path, page):
    run = ReportRun(tmp_path)
    run.start()
    run.tell("job_ended", state="failed")
    error = UserError("Memory ran out.", "The card is full.", "Close other programs.").to_dict()
    jobs.write_outcome(run.folder, jobs.Outcome("failed", error, "Traceback (most recent call last): boom"))
    text = page(run.folder).text
    assert "Memory ran out. The card is full. Close other programs." in text and "boom" in text
    assert "No step was completed, so there are no curves." in text


def test_a_run_that_goes_on_and_one_that_never_began(tmp_path, page):
    new = ReportRun(tmp_path / "new")
    text = page(new.folder).text
    assert "The run was never started. It completed 0 steps" in text and "no worker was ever started" in text
    assert "As far as is known, no rows were held out." in text and "don't say which machine" in text
    begun = ReportRun(tmp_path / "begun")
    begun.start()
    begun.learn(1, 3)
    assert "The run is still in progress. It completed 3 of 60 steps" in page(begun.folder).text


@pytest.mark.parametrize(("losses", "said"), [
    ([2.31], "wasn't measured before and after"),
    ([2.31, float("nan")], "wasn't a number at the end"),
    ([float("nan"), 1.5], "wasn't a number at the start"),
    ([2.31, 1.5], "2.310 → 1.500 −35%, lower is better")])
def test_the_first_loss_is_never_told_as_the_last(tmp_path, page, losses, said):
    run = ReportRun(tmp_path)
    run.start()
    for number, loss in enumerate(losses):
        run.tell("eval", global_step=20 * number, eval_loss=loss)
    text = page(run.folder).text
    assert said in text and "+0%" not in text and "2.310 → 2.310" not in text


def test_losses_that_are_no_numbers_leave_gaps_and_are_named(tmp_path, page):
    run = ReportRun(tmp_path)
    run.start()
    run.learn(1, 5)
    run.tell("step", global_step=6, train_loss=float("nan"), learning_rate=1e-4, grad_norm=float("inf"))
    run.tell("eval", global_step=6, eval_loss=float("nan"))
    shown = page(run.folder)
    assert re.search(r"6 – nan 0\.0001 inf", shown.text) and "Eval loss at step 6 isn't" in shown.text
    assert not re.search(r'd="[^"]*nan', shown.html)


def test_nothing_is_fetched_and_no_script_can_run(tmp_path, page):
    shown = page(finished(tmp_path).folder)
    assert shown.html.startswith("<!DOCTYPE html>") and 'lang="en"' in shown.html
    policy = next(given["content"] for name, given in shown.tags if given.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert not re.search(r"https?:|//[a-z]|url\(|@import", shown.html)
    assert not {"script", "link", "iframe", "img", "object", "embed", "base"} & {name for name, _ in shown.tags}
    links = [given["href"] for name, given in shown.tags if name == "a"]
    ids = {given["id"] for _, given in shown.tags if "id" in given}
    assert links and all(link[0] == "#" and link[1:] in ids for link in links)
    assert all(name[:2] != "on" for _, given in shown.tags for name in given)


@pytest.mark.parametrize("hostile", [SCRIPT, TURNED, "\x00\x1b[31m", "{{ 7 * 6001 }}{% if %}", "</style>",
                                     "पुणे சென்னை কলকাতা क्\u200dष"])
def test_hostile_text_stays_text(tmp_path, page, hostile):
    run = finished(tmp_path, name=hostile, model=f"/models/{hostile}", train_file=f"/data/{hostile}.jsonl",
                   sample_prompts=[hostile], reasons={"seed": hostile})
    run.tell("warning", code="rows_cut", message=hostile)
    run.tell("sample", global_step=60, samples=[{"prompt": hostile, "answer": hostile, "reference": hostile}])
    place = run.evaluate(models=[{"name": "base"}, {"name": hostile}], test=hostile)
    run.items(place, [(hostile, hostile, "a", hostile)])
    score(place)
    shown = page(run.folder)
    shown.html.encode("utf-8")
    assert not {"script", "img"} & {name for name, _ in shown.tags}
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", shown.html)
    assert "42007" not in shown.text
    assert {SCRIPT: "<script>alert(1)</script>", TURNED: "invoice[U+202E]fdp.exe",
            "\x00\x1b[31m": "[U+0000][U+001B][31m"}.get(hostile, hostile) in shown.text


def test_half_characters_do_not_break_the_page(tmp_path, page):
    """JSON can hold half of a surrogate pair; UTF-8 can't."""
    run = finished(tmp_path, name="HALF", model="/models/HALF", train_file="/data/HALF")
    run.tell("warning", code="rows_left_out", message="HALF")
    for name in (jobs.RUN, jobs.EVENTS):
        path = run.folder / name
        path.write_text(path.read_text().replace("HALF", r"a\ud800b"))
    shown = page(run.folder)
    assert "/models/a[U+D800]b" in shown.text
    shown.html.encode("utf-8")


def test_long_answers_are_cut_with_a_note(run, page):
    place = run.evaluate(models=[{"name": "base"}, {"name": "tuned"}], test="x.jsonl")
    run.items(place, [("Q", "right", "wrong", "y" * 1_000_000), ("Q2", "right", "wrong", "right")])
    score(place)
    shown = page(run.folder)
    assert "Cut here: 1,500 of 1,000,000 characters are shown." in shown.text and len(shown.html) < 300_000


def test_best_and_worst_rows(run, page):
    place = run.evaluate(models=[{"name": "base"}, {"name": "tuned"}], test="x.jsonl")
    good = "the office opens at ten"
    run.items(place, [(f"question {n}", good, "zzz", good if n < 12 else "zzz") for n in range(13)]
              + [(f"question {n}", good, good, "zzz") for n in range(13, 26)])
    score(place)
    text = page(run.folder).text
    best, worst = text.index("Best: 10"), text.index("Worst: 10")
    questions = [int(n) for n in re.findall(r"Question question (\d+)", text[best: text.index("What it was trained on",
                                                                                              worst)])]
    assert len(questions) == 20
    assert all(n < 12 for n in questions[:10]) and all(n >= 13 for n in questions[10:])
    assert (f"line 1 · tax · hi +100.0 Question question 0 Reference {good} base · 0.0 chrF++ zzz "
            f"tuned · 100.0 chrF++ {good}") in text


def test_it_is_written_whole_into_the_run(run, tmp_path):
    written = write_report(run.folder)
    assert written == run.folder / "report.html" and written.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert not list(run.folder.glob(".*partial*"))
    with pytest.raises(UserError, match=r"report\.docx"):
        write_report(run.folder, tmp_path / "report.docx")
    with pytest.raises(UserError, match="isn't a run folder"):
        write_report(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="write the report"):
        write_report(run.folder, tmp_path / "file" / "report.html")
