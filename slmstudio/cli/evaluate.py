"""Evaluations in the terminal: test sets, benchmarks of the field, a judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli.chat import Device, chosen
from slmstudio.cli.output import Json, print_error, print_json, print_table, print_time, print_warning, say
from slmstudio.cli.progress import Follower
from slmstudio.cli.rivals import keep_rival, print_rivals
from slmstudio.core import files, formats, jobs, llama, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

if TYPE_CHECKING:
    from slmstudio.core.evaluation.advice import Advice, Proposal

app = typer.Typer()
RUBRIC = "The better answer is right, complete and short, and is written in the language of the question."
"""Always in English, like the rest of the judge's prompt."""
TOKENS = 256
MOST_WARNINGS, LONGEST_LINE = 20, 200
TOLD_AFTER = ("judge_unreadable",)
TOLD_BEFORE = ("test_problems", "benchmark_data")
"""Warnings of the worker that are told with the scores; and those that were told, by the line, before it started."""


@app.command()
def evaluate(
    run_or_model: Annotated[str, typer.Argument(
        help='A run, by its name or folder; a model folder, a GGUF file or "starter"; or the folder of an evaluation '
             "that was interrupted, to continue it.")],
    test: Annotated[Path | None, typer.Option(help="Test rows, in any format that a dataset can have. By default, a "
                                                   "run's held-out rows.")]
    = None,
    columns: Annotated[str | None, typer.Option(
        "--map", metavar="TARGET=COLUMN,…", help="What the columns of --test contain, for example "
                                                 "question=Ask,choices=One,Two,answer=Right; references, category "
                                                 "and language too.")] = None,
    limit: Annotated[int | None, typer.Option(help="Number of rows to draw or, with --benchmark, of questions per "
                                                   "subject.")]
    = None,
    benchmark: Annotated[str | None, typer.Option(help="mmlu, arc_challenge, hellaswag, gsm8k or another task of "
                                                       "lm_eval.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the benchmark's files; by default those downloaded.")]
    = None,
    fetch: Annotated[bool, typer.Option("--fetch",
                                        help="Download the benchmark's data from the hub if it isn't here yet. It is "
                                             "kept and used offline.")] = False,
    shots: Annotated[int | None, typer.Option(help="Number of few-shot examples. By default, the benchmark's "
                                                   "own.")] = None,
    against: Annotated[list[str] | None, typer.Option(help="Another model, run or GGUF file to compare with. Can be "
                                                           "given several times.")] = None,
    exports: Annotated[bool, typer.Option(help="Evaluate the run's GGUF files too.")] = False,
    rivals: Annotated[str | None, typer.Option(
        metavar="NAME,…", help="Compare the run with what needs no training: prompt, examples and retrieval (rows like "
                               "the question are looked up) of its base, and tuned_retrieval.")] = None,
    keep: Annotated[str | None, typer.Option(
        metavar="NAME", help="Let chat and serve answer for the run as this rival did, or as the tuned model alone. "
                             "Without --rivals, as in the last evaluation that asked it.")] = None,
    judge: Annotated[str | None, typer.Option(help="Model folder or GGUF file of the judge, which compares the "
                                                   "answers.")] = None,
    rubric: Annotated[Path | None, typer.Option(help="Text file that says what the judge should look for.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt before every question; with --rivals, that of the "
                                                    "rivals of the tuned model.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Maximum length of an answer, in tokens.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16: the precision of models in folders. By "
                                                       "default, the one that the run was trained in; without a run, "
                                                       "the model's own on a GPU, and fp32 on the processor.")] = None,
    general: Annotated[bool, typer.Option(help="Ask a run's base and tuned model the general questions too, to see "
                                               "what was forgotten.")] = True,
    device: Device = None,
    seed: Annotated[int, typer.Option(help="Seed for drawing the rows.")] = 0,
    as_json: Json = False,
) -> int:
    """Let a model, or a run's result and its base model, answer test rows. Score and compare the answers.

    Every batch of answers is kept: to continue an evaluation that was interrupted, give its folder.
    """
    from slmstudio.core.evaluation.request import model_at, with_own_name
    from slmstudio.core.run import named

    begun, told = formats.read("job", Path(run_or_model) / jobs.REQUEST), TOLD_AFTER
    is_begun = begun is not None and begun.get("kind") == "evaluate"
    if keep and not rivals and not is_begun:
        return keep_rival(named.or_path(run_or_model), None, keep, as_json)
    if is_begun:
        found = jobs.Job(Path(run_or_model))
    else:
        told += TOLD_BEFORE
        request, run = _request(run_or_model, exports, rivals.split(",") if rivals else (), system)
        if rivals:
            system = None
        for name in against or []:
            request["models"].append(with_own_name(model_at(name), [model["name"] for model in request["models"]]))
        given = {"test_columns": columns, "system": system, "max_new_tokens": max_new_tokens,
                 "precision": precision or _precision(request)}
        request.update({key: value for key, value in given.items() if value is not None})
        request["seed"] = seed
        request["general"] = general and bool(request.get("general"))
        request["device"] = chosen(device)
        if test is not None:
            request["test"], request["limit"] = str(test.absolute()), None
            request["test_columns"] = columns  # what is known about the run's own file says nothing of another
        elif benchmark:
            request["test"] = request["limit"] = None
        if limit is not None and not benchmark:
            request["limit"] = limit
        if benchmark:
            request["benchmark"] = {"name": benchmark, "data": str(data.absolute()) if data else None, "limit": limit,
                                    "shots": shots, "fetch": fetch}
        if judge:
            request["judge"] = {**model_at(judge), "rubric": _read(rubric) if rubric else RUBRIC}
        found = _created(request, run)
    _need_engine(found)
    status = _carry_out(found, told, as_json and not keep)
    if keep and status == 0:
        run = found.request().get("train_run")
        return keep_rival(Path(run) if run else None, found.folder, keep, as_json)
    return status


def _need_engine(job: jobs.Job) -> None:
    asked = job.request()
    if any((model or {}).get("gguf") for model in (*asked["models"], asked.get("judge"))):
        llama.need()


@app.command("try")
def try_without_training(
    data: Annotated[Path, typer.Argument(help="A file or folder with the rows that you would train on.")],
    model: Annotated[str, typer.Option(help='A model folder, a GGUF file, or "starter".')] = "starter",
    rows: Annotated[int, typer.Option(min=1, help="Number of held-out rows to ask.")] = 30,
    rivals: Annotated[str, typer.Option(metavar="NAME,…", help="prompt, examples, retrieval.")] = "prompt,retrieval",
    columns: Annotated[str | None, typer.Option("--map", metavar="TARGET=COLUMN,…", help="What the columns contain, as "
                                                                                        "of plan.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt; by default, one made from the rows.")] = None,
    keep: Annotated[str | None, typer.Option(metavar="NAME", help="Let chat answer as this one did.")] = None,
    device: Device = None,
    as_json: Json = False,
) -> int:
    """Ask a model without training it: as it is, with a prompt, and with rows looked up. Training has to beat that.

    The rows asked are some of those that a run on the same file holds out.
    """
    from slmstudio.core.evaluation.request import propose_trial

    request = propose_trial(data, model, rows, rivals.split(","), columns, system)
    request["device"] = chosen(device)
    job = _created(request, None)
    _need_engine(job)
    status = _carry_out(job, (*TOLD_AFTER, *TOLD_BEFORE), as_json and not keep)
    return keep_rival(None, job.folder, keep, as_json) if keep and status == 0 else status


def _request(text: str, exports: bool, rivals: Sequence[str] = (), system: str | None = None
             ) -> tuple[dict[str, Any], Path | None]:
    from slmstudio.core.evaluation import request
    from slmstudio.core.evaluation.request import model_at
    from slmstudio.core.run import named

    if (run := named.find(text)) is not None:
        return request.propose(run, exports, rivals=rivals, system=system), run
    if rivals:
        raise UserError(tr("Rivals are compared with the result of a run."), tr("{name} isn't one.", name=text),
                        tr("To try a model on rows without training: {command}",
                           command=program.command("try", "FILE", "--model", text)))
    return {"kind": "evaluate", "test": None, "limit": None, "seed": 0, "benchmark": None, "models": [model_at(text)],
            "train_run": None, "train_file": None, "train_split": None, "system": None, "max_new_tokens": TOKENS,
            "precision": None, "batch_size": None, "judge": None}, None


def _precision(request: dict[str, Any]) -> str:
    """The run's, or what suits the models."""
    from slmstudio.core.evaluation.request import precision_of
    from slmstudio.core.hardware.machine import read_gpus

    if request["precision"]:
        return str(request["precision"])
    gpus, _ = read_gpus()
    return precision_of(request["models"], gpus[0] if gpus else None)


def _read(path: Path) -> str:
    from slmstudio.core.errors import from_os_error

    try:
        return files.read_text(path)
    except OSError as error:
        raise from_os_error(error, tr("Could not read the rubric.")) from error
    except UnicodeDecodeError as error:
        raise UserError(tr("{path} isn't UTF-8 text.", path=path.name), "", tr("Save it as UTF-8.")) from error


def _created(request: dict[str, Any], run: Path | None) -> jobs.Job:
    from slmstudio.core.evaluation import at_end
    from slmstudio.core.evaluation import request as requests

    with Follower() as follower:
        checked = requests.check(request, progress=follower.on_bytes)
    for warning in checked.warnings[:MOST_WARNINGS]:
        print_warning(str(warning))
    if len(checked.warnings) > MOST_WARNINGS:
        print_warning(tr("There are {n:,} more of this kind.", n=len(checked.warnings) - MOST_WARNINGS))
    request.pop("no_test", None)
    if checked.test is not None:
        rows = min(len(checked.test.items), request["limit"] or len(checked.test.items))
        names = [model["name"] for model in request["models"]]
        print_time(at_end.total(at_end.paces(request["models"], run, bool(request.get("general"))), names, rows))
    return requests.create(request, run)


def _carry_out(job: jobs.Job, told: tuple[str, ...], as_json: bool) -> int:
    from slmstudio.core.evaluation.scoring import read_scores

    outcome = job.outcome()
    if outcome is None or not outcome.was_successful():
        if not job.is_alive():
            job.start()
        with Follower(told, tr("Stopping. The answers so far are kept.")) as follower:
            outcome = follower.follow(job, "evaluate")
    if not outcome.was_successful():
        return _print_failure(job, outcome, as_json)
    scores = read_scores(job.folder) or {}
    advice = _advice(job, scores)
    if as_json:
        print_json({"evaluation": str(job.folder), "outcome": outcome.state, **scores,
                    "advice": advice.to_dict() if advice else None})
    else:
        print_scores(scores)
        if advice is not None:
            say_advice(advice, job.folder.parent.parent)
        say("\n" + tr("Saved in {folder}", folder=job.folder))
    return 0


def say_advice(advice: Advice, run: Path) -> None:
    """What came of a run, and what to do next, each with its command."""
    say(f"\n{advice.headline} {advice.caveat}".rstrip())
    for each in advice.proposals:
        say(f"  {each.text}: {each.reason}")
        if command := prepared(each, run):
            say(f"    {command}")


def after_training(run: jobs.Job, as_json: bool) -> dict[str, Any] | None:
    """The evaluation that follows a training which ended well; what it came to is printed. If it fails, a warning says
    why: the run is as good as before.

    Returns:
        For --json: {"evaluation": its folder, "outcome", and what `Advice.to_dict` says}; None where there was none.
    """
    from slmstudio.core import settings
    from slmstudio.core.evaluation import at_end
    from slmstudio.core.evaluation.advice import of_run as advice_of
    from slmstudio.core.evaluation.scoring import read_scores
    from slmstudio.core.run import folder

    try:
        if not settings.load(put_aside=False)[0].evaluate_at_end or not folder.wants_evaluation(run.folder):
            return None
        if (job := at_end.create(run.folder)) is None:  # nothing can be answered: its losses say what came of it
            advice = advice_of(run.folder, None)
            if not as_json and advice is not None:
                say_advice(advice, run.folder)
            return {"evaluation": None, **(advice.to_dict() if advice else {})}
        job.start()
        with Follower(TOLD_AFTER, tr("Stopping. The answers so far are kept.")) as follower:
            outcome = follower.follow(job, "evaluate")
        if not outcome.was_successful():
            raise outcome.user_error()
        advice = _advice(job, read_scores(job.folder) or {})
        answers = at_end.read(job.folder, at_end.SHOWN)
    except UserError as error:
        print_warning(str(error))
        return None
    if not as_json:
        for each in answers:
            say("\n" + tr("Question: {text}", text=_line(each.question)))
            say("  " + tr("Before: {text}", text=_line(each.before)))
            say("  " + tr("Tuned: {text}", text=_line(each.tuned)))
        if advice is not None:
            say_advice(advice, run.folder)
    return {"evaluation": str(job.folder), "outcome": outcome.state, **(advice.to_dict() if advice else {})}


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} …"


def _advice(job: jobs.Job, scores: dict[str, Any]) -> Advice | None:
    """What a run's evaluation comes to; None if it isn't a run's."""
    from slmstudio.core.evaluation import advice

    request = job.request()
    run = request.get("train_run")
    return advice.of_run(Path(run), scores, request) if run else None


def prepared(proposal: Proposal, run: Path) -> str:
    """The command that does what is proposed for a run; "" where it's a person's to do."""
    from slmstudio.core.evaluation.advice import proposals

    new = {"max_steps": None, **proposal.changes} if "epochs" in proposal.changes else proposal.changes
    fields = [word for name, value in new.items() for word in ("--set", f"{name}={value}")]
    options = [word for name, value in proposal.changes.items() for word in (f"--{name.replace('_', '-')}", value)]
    words: dict[str, list[object]] = {
        proposals.TRAIN: ["continue", run, *options, "--out", "next.json"],
        proposals.AGAIN: ["train", run / jobs.RUN, *fields], proposals.RESUME: ["train", run],
        proposals.EVALUATE: ["evaluate", run, *options],
        proposals.OTHER_TEST: ["evaluate", run, "--test", "FILE"],
        proposals.EXPORT: ["export", run], proposals.CHAT: ["chat", run]}
    return program.command(*words[proposal.action]) if proposal.action in words else ""


def _print_failure(job: jobs.Job, outcome: jobs.Outcome, as_json: bool) -> int:
    """Returns the exit status."""
    from slmstudio.core.jobs.outcome import resume_advice

    error = outcome.user_error()
    advice = resume_advice("evaluate", job.folder)
    if outcome.state == "cancelled":
        print_warning(f"{tr('Cancelled.')} {advice}")
    else:
        print_error(error, as_json=False)
        if advice not in str(error):
            print_warning(advice)
    if as_json:
        print_json({"evaluation": str(job.folder), "outcome": outcome.state, "error": outcome.error})
    return outcome.exit_status


def print_scores(scores: dict[str, Any]) -> None:
    """Tables of all scores with their 95% intervals, and what they say."""
    from slmstudio.core.evaluation import gain
    from slmstudio.core.evaluation.scores.metrics import METRICS

    models = scores.get("models") or []
    if models:
        keys = [key for key in METRICS if any(key in model["scores"] for model in models)]
        names = {key: tr(METRICS[key].label) for key in keys}
        rows = [(tr("{score} (%)", score=name) if METRICS[key].yes_or_no else name,
                 *(_figure(model["scores"].get(key)) for model in models)) for key, name in names.items()]
        print_table(ntr("Scores of {n:,} row", "Scores of {n:,} rows", scores["test"]["rows"]), rows,
                    ("", *(model["name"] for model in models)))
    headings, kept = gain.table(scores)
    if kept:
        print_table(tr("What each export keeps"), kept, headings)
    said = [f"{each['of']}: {each['sentence']}" for each in scores.get("comparisons") or [] if each.get("main")]
    for result in scores.get("benchmarks") or []:
        print_benchmark(result)
        said += [result["sentence"]] if result["sentence"] else []
    judge = scores.get("judge")
    said += [each["sentence"] for each in (judge, (judge or {}).get("agreement")) if each]
    for sentence in (*said, *filter(None, [gain.sentence(scores)]), *scores.get("remarks", [])):
        say(sentence)
    if scores.get("rivals"):
        print_rivals(scores["rivals"])


def print_benchmark(result: dict[str, Any]) -> None:
    models = result["models"]
    subjects = sorted({subject for model in models for subject in model["by_subject"]})
    rows = [(tr("all"), *(_figure(model["accuracy"]) for model in models))]
    if len(subjects) > 1:
        rows += [(subject, *(_figure(model["by_subject"].get(subject)) for model in models)) for subject in subjects]
    title = ntr("{benchmark}, {n:,} question", "{benchmark}, {n:,} questions", models[0]["accuracy"]["rows"],
                benchmark=result["title"])
    print_table(title, rows, (tr("Accuracy in %"), *(model["name"] for model in models)))


def _figure(score: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "–"
    digits = 3 if score["value"] < 10 and score["high"] is not None and score["high"] < 10 else 1
    bounds = [f"{score[key]:.{digits}f}" if score[key] is not None else "∞" for key in ("low", "high")]
    return tr("{score} ({low} to {high})", score=f"{score['value']:.{digits}f}", low=bounds[0], high=bounds[1])
