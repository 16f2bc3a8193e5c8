"""Datasets in the terminal: check, clean, convert, split and mix them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli import asking
from slmstudio.cli import output as told
from slmstudio.cli.output import Json, print_json, print_table, say, spare
from slmstudio.cli.progress import Follower
from slmstudio.cli.words import Group
from slmstudio.core import program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.record import Record

app = typer.Typer(name="data", cls=Group, no_args_is_help=True, help="Read, check and fix datasets.")
Mapped = Annotated[list[str] | None, typer.Option(
    "--map", metavar="TARGET=COLUMN,…", help="What the columns contain, for example "
                                             "instruction=Question,output=Answer. Targets: instruction, input, "
                                             "output, system, messages, tools, prompt, chosen, rejected, completion, "
                                             "label, text, cell (a question with its answer), choices (one column, or "
                                             "several with commas between). Title + Body joins two columns. Also: "
                                             "sheet=NAME, header=2 (or 1-2, none), rows=PATH (a list in a JSON file), "
                                             "files=PATTERN, user=NAME,assistant=NAME (who speaks), text_by=paragraph, "
                                             "join=TEXT, between=TEXT, unanswered=drop, marks=ignore.")]
Sheet = Annotated[str | None, typer.Option(help="Sheet of the workbook to read.")]
TextBy = Annotated[str | None, typer.Option(help="How text is split into rows: by paragraph, line, document, length, "
                                                 "question (with its answer) or dialogue.")]
Model = Annotated[str | None, typer.Option(
    help='Folder or name of the model whose tokens are counted, or "starter". By default the starter model, if it is '
         'installed.')]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Tokens after which a row is cut.")]
Decisions = Annotated[list[str], typer.Option(
    metavar="KIND[=CHOICE]", help="What is decided about a finding, by the names that `data check` gives. Without a "
                                  "choice, the first one that changes rows. Can be given several times, or as a list "
                                  "with commas. \"recommended\" stands for all recommended choices.")]


def mapping_text(map_: list[str] | None, sheet: str | None, text_by: str | None) -> str | None:
    """What the options say about a file, as `read_options.parse` reads it."""
    parts = [*(map_ or ()), *([f"sheet={sheet}"] if sheet else ()), *([f"text_by={text_by}"] if text_by else ())]
    return ",".join(parts) or None


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, folders or archives with rows.")],
    model: Model = None,
    max_length: MaxLength = None,
    map_: Mapped = None,
    sheet: Sheet = None,
    text_by: TextBy = None,
    problems: Annotated[Path | None, typer.Option(metavar="FILE.jsonl", help="Write every problem to this file, one "
                                                                             "JSON object per line.")] = None,
    as_json: Json = False,
) -> int:
    """Read datasets, and show what they contain and what is wrong with them. Exit status 2 if a row can't be used,
    or if it isn't clear how a file should be read."""
    from slmstudio.core.data import reader
    from slmstudio.core.data.dataset import not_sure
    from slmstudio.core.data.reader import read_as

    if problems is not None:
        spare(files, problems)
    reports = []
    unsure: list[Path] = []
    listed: list[tuple[Path, Sequence[Problem]]] = []
    for file in files:
        try:
            with Follower() as follower:
                dataset = read_as(file.absolute(), mapping_text(map_, sheet, text_by), follower.on_bytes)
                report = _report(file, dataset, model, max_length, follower)
        except UserError as error:
            asking.show(error, ["data", "check", str(file)], as_json=False)
            found: Sequence[Problem] = error.problems or [Problem(" ".join(filter(None, (error.what, error.why))))]
            report = {"file": str(file), "records": 0, **told.for_json(found),
                      "candidates": asking.in_json(getattr(error, "candidates", ())),
                      "error": {**error.to_dict(), "problems": []}}
        else:
            found = dataset.problems
            if not as_json:
                _show(report, found, dataset.records[:reader.SHOWN])
            if not dataset.is_sure:
                asking.show(not_sure(file, dataset.candidates), ["data", "check", str(file)], as_json=False)
                unsure.append(file)
        reports.append(report)
        listed.append((file, found))
    if problems is not None:
        told.write(problems, listed)
    if as_json:
        print_json(reports[0] if len(reports) == 1 else {"files": reports})
    left_out = [report for report in reports if report["problems"]]
    for report in left_out:
        if report["records"]:
            left = ntr("{file}: {n:,} row can't be used.", "{file}: {n:,} rows can't be used.", report["rows_left_out"],
                       file=report["file"])
            say(tr("error: {text}", text=left), file=sys.stderr)
    return 2 if left_out or unsure else 0


def _report(file: Path, dataset: Dataset, model: str | None, max_length: int | None,
            follower: Follower) -> dict[str, Any]:
    from slmstudio.core.data import layouts, reader
    from slmstudio.core.data.health.finding import left_out, recommended, to_decide
    from slmstudio.core.data.health.survey import check as look_for_faults
    from slmstudio.core.data.languages import script_shares
    from slmstudio.core.data.record import as_row
    from slmstudio.core.run import rows_report

    folder = _model_folder(model, follower)
    counts, notes = None, list(dataset.notes)
    if folder is not None:
        try:
            counts = rows_report.count_tokens(dataset.records, folder, follower.on_rows)
        except UserError as error:
            if model is not None:
                raise
            left = tr("The tokens weren't counted.")
            notes.append(f"{left} {error.what} {error.why}".strip())
    special = rows_report.special_tokens(folder) if folder is not None else ()
    found = look_for_faults(dataset.records, rows_report.context_of(counts, special, len(dataset.records), max_length,
                                                                    None), follower.on_rows)
    longer = _longer(folder, counts.max, max_length) if folder is not None and counts and max_length else None
    findings = to_decide(found, dataset.problems, dataset.rows_left_out, longer)
    return {
        "file": str(file), "format": dataset.format, "encoding": dataset.encoding, "layout": dataset.layout,
        "objectives": list(layouts.objectives(dataset.layout)), "mapping": dataset.mapping,
        "columns": list(dataset.columns), "records": dataset.count, "rows_left_out": dataset.rows_left_out,
        **told.for_json(dataset.problems), "unused": list(dataset.unused),
        "unused_words": list(dataset.unused_words), "candidates": asking.in_json(dataset.candidates),
        "first_rows": [as_row(record) for record in dataset.records[:reader.SHOWN]], "notes": notes,
        "text_by": dataset.text_by or None, "sheets": list(dataset.sheets),
        "findings": [{**each.to_dict(), "lines": list(each.lines[:told.MOST_IN_JSON])} for each in findings],
        "rows_used": dataset.count - left_out(findings, recommended(findings)),
        "tokens": counts.to_dict() if counts else None, "scripts": script_shares(dataset.records),
        "sha256": dataset.sha256, "bytes": dataset.bytes,
    }


def _longer(folder: Path, longest: int, max_length: int) -> int | None:
    """The sequence length at which fewest rows are cut; None if that isn't longer, or the model reads no more."""
    from slmstudio.core.model.facts import read_model
    from slmstudio.core.run.planning.row_counts import covering

    found = min(covering(longest), read_model(folder).context_length or longest)
    return found if found > max_length else None


def _model_folder(model: str | None, follower: Follower) -> Path | None:
    """The folder of the model whose tokens are counted; None if none was named and the starter isn't there."""
    from slmstudio.core import starter
    from slmstudio.core.model import library
    from slmstudio.core.model.hub import on_disk

    if model == "starter":
        return starter.prepare(lambda event: follower.on_event("model", event)).path
    if model is not None:
        return on_disk.resolve(model)
    return library.starter_folder() if library.starter_ready() else None


def _show(report: dict[str, Any], problems: Sequence[Problem], records: Sequence[Record]) -> None:
    from slmstudio.core.data import layouts

    kind = " · ".join(filter(None, (report["format"], report["encoding"])))
    say(ntr("{file}: {n:,} row, {layout}, {kind}", "{file}: {n:,} rows, {layout}, {kind}", report["records"],
            file=report["file"], layout=report["layout"], kind=kind))
    say(layouts.sentence(report["layout"]))
    if report["mapping"] != {"text": "text"}:
        say(tr("Columns: {columns}", columns=", ".join(f"{target} = {column}"
                                                       for target, column in report["mapping"].items())))
    _show_first_rows(records)
    if words := report["unused_words"]:
        say(tr("Columns with words that aren't used: {columns}", columns=", ".join(words)))
    if rest := [column for column in report["unused"] if column not in words]:
        say(tr("Other columns that aren't used: {columns}", columns=", ".join(rest)))
    for note in report["notes"]:
        say(tr("Note: {text}", text=note))
    for line in told.first(problems, report["file"]):
        say(f"  {line}")
    say(ntr("{n:,} problem", "{n:,} problems", len(problems)) if problems else tr("No problems."))
    if report["tokens"]:
        tokens = report["tokens"]
        words = ", ".join(f"{each} ({script})" for script, each in tokens["per_word"].items())
        say(tr("Tokens per row with {model}: {min:,} to {max:,}, median {median:,}, 95% within {p95:,}.",
               **{name: tokens[name] for name in ("model", "min", "max", "median", "p95")})
            + " " + tr("Tokens per word: {words}.", words=words))
    if report["findings"]:
        _show_findings(report)


def _show_findings(report: dict[str, Any]) -> None:
    """Print them with the command that decides each, and what the recommended choices would leave."""
    from slmstudio.core.data.health.finding import KINDS, Finding

    findings = list(map(Finding.from_dict, report["findings"]))
    print_table(tr("Findings"), [(each.kind, f"{each.count:,}", each.sentence, _lines(each.lines))
                                 for each in findings], (tr("Kind"), tr("Rows"), tr("What"), tr("Lines")))
    say("\n" + tr("What can be decided, the recommended choice first:"))
    for each in findings:
        say(f"  {KINDS[each.kind].title}")
        for choice in (choice for choice in each.choices if choice != "by_hand"):
            option = f"--max-length {each.detail['longer']}" if choice == "lengthen" else f"--fix {each.kind}={choice}"
            say(f"    {option}  {each.does(choice)}")
    say("\n" + ntr("With the recommended choices, about {used:,} of {n:,} row is used.",
                   "With the recommended choices, about {used:,} of {n:,} rows are used.",
                   report["records"] + report["rows_left_out"], used=report["rows_used"]))
    say(tr("Apply them: {command}", command=program.command(
        "data", "clean", report["file"], "--fix", "recommended", "--out", "NEW.jsonl")))


def _show_first_rows(records: Sequence[Record]) -> None:
    """Print what a model will see of them, a line for each message."""
    from slmstudio.core.data.record import message_text
    from slmstudio.core.data.sources.row import one_line

    roles = {"system": tr("system"), "user": tr("user"), "assistant": tr("assistant"), "tool": tr("tool")}
    say(tr("The first rows, as the model will see them:"))
    for number, record in enumerate(records, 1):
        parts = [(tr("text"), record.text or "")] if record.text is not None else [
            (roles[message["role"]], message_text(message)) for message in record.messages]
        if record.rejected is not None:
            parts.append((tr("rejected answer"), record.rejected))
        for at, (role, text) in enumerate(parts):
            say(f"  {'' if at else number!s:2}  {role}: {one_line(text)}")


def _lines(lines: Sequence[int]) -> str:
    return ", ".join(f"{line:,}" for line in lines[:5]) + (", …" if len(lines) > 5 else "")


@app.command()
def clean(
    file: Annotated[Path, typer.Argument(help="File, folder or archive with rows.")],
    out: Annotated[Path, typer.Option(help="JSONL file to write.")],
    fix: Decisions,
    model: Model = None,
    max_length: MaxLength = None,
    map_: Mapped = None,
    sheet: Sheet = None,
    text_by: TextBy = None,
    as_json: Json = False,
) -> int:
    """Write a fixed copy as JSONL. The file itself is never changed."""
    from slmstudio.core.data.health.finding import recommended
    from slmstudio.core.data.health.survey import check as look_for_faults
    from slmstudio.core.data.health.survey import fix as fix_rows
    from slmstudio.core.data.versions import store
    from slmstudio.core.run import rows_report

    spare([file], out)
    wanted = [each for several in fix for each in several.split(",") if each]
    decisions = _decisions(each for each in wanted if each != "recommended")
    with Follower() as follower:
        dataset = asking.read(file, mapping_text(map_, sheet, text_by), follower)
        folder = _model_folder(model, follower)
        special = rows_report.special_tokens(folder) if folder is not None else ()
        counts = rows_report.count_tokens(dataset.records, folder, follower.on_rows) if folder and max_length else None
        context = rows_report.context_of(counts, special, dataset.count, max_length, None)
        if "recommended" in wanted:
            decisions = recommended(look_for_faults(dataset.records, context, follower.on_rows)) | decisions
        fixed = fix_rows(dataset.records, decisions, context)
    steps = fixed.steps(decisions, dataset.rows_left_out)
    source = store.Source(dataset.path.name, sha256=dataset.sha256, rows=dataset.count + dataset.rows_left_out)
    store.write_rows(out.absolute(), fixed.records, {**source.to_dict(), "steps": steps})
    return _done({"out": str(out), "records": len(fixed.records),
                  "changes": {kind: sum(change.kind == kind for change in fixed.changes) for kind in decisions},
                  "removed": len(dataset.records) - len(fixed.records), "decisions": decisions,
                  "outcome": store.Lineage((source,), tuple(steps)).sentence}, as_json)


def _decisions(wanted: Iterable[str]) -> dict[str, str]:
    """KIND=CHOICE or KIND as decisions. Raises UserError where there is no such finding or choice."""
    from slmstudio.core.data.health.finding import KINDS

    decisions, unknown = {}, []
    for each in wanted:
        kind, _, choice = each.partition("=")
        known = KINDS.get(kind)
        if known is None or (choice or known.fix) not in known.choices:
            unknown.append(each)
        else:
            decisions[kind] = choice or known.fix or ""
    if unknown:
        raise UserError(tr("{kinds} can't be fixed this way.", kinds=", ".join(unknown)),
                        tr("The report has no finding of that name, or no such choice for it."),
                        tr("Choose one of: {names}.", names=", ".join(
                            f"{kind}={choice}" for kind, about in KINDS.items() for choice in about.choices)))
    return decisions


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="File, folder or archive with rows.")],
    out: Annotated[Path, typer.Option(help="JSONL file to write.")],
    map_: Mapped = None,
    sheet: Sheet = None,
    text_by: TextBy = None,
    as_json: Json = False,
) -> int:
    """Write the rows as JSONL, in one standard form."""
    from slmstudio.core.data.versions import store

    spare([file], out)
    with Follower() as follower:
        dataset = asking.read(file, mapping_text(map_, sheet, text_by), follower)
    store.write_rows(out.absolute(), dataset.records,
                     {"source": dataset.path.name, "sha256": dataset.sha256, "steps": []})
    return _done({"out": str(out), "records": dataset.count, "rows_left_out": dataset.rows_left_out,
                  "layout": dataset.layout}, as_json)


@app.command()
def split(
    file: Annotated[Path, typer.Argument(help="File, folder or archive with rows.")],
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl and eval.jsonl.")],
    ratio: Annotated[float | None, typer.Option(min=0.0, max=0.9, help="Share of the rows to hold out. By default "
                                                                       "0.1, or about 2,000 rows of a large file.")]
    = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of rows to hold out, instead of a share.")] = None,
    seed: Annotated[int, typer.Option(help="A different seed holds out different rows.")] = 0,
    by: Annotated[str, typer.Option(help="Hold out the same share of all rows, of each language, or of each file of a "
                                         "folder: rows, language or source.")] = "rows",
    map_: Mapped = None,
    sheet: Sheet = None,
    text_by: TextBy = None,
    as_json: Json = False,
) -> int:
    """Split the rows into training and evaluation rows.

    Rows with the same question stay together, and so do rows with the same value in a column “split_group”.
    """
    from slmstudio.core.data.split import split_evenly, usual_share
    from slmstudio.core.data.versions import store

    spare([file], out / "train.jsonl", out / "eval.jsonl")
    with Follower() as follower:
        dataset = asking.read(file, mapping_text(map_, sheet, text_by), follower)
    share = usual_share(dataset.count) if ratio is None else ratio
    if count is not None:
        share = min(0.9, count / max(1, dataset.count))
    train, held_out = split_evenly(dataset.records, share, seed, by)
    for name, rows in (("train", train), ("eval", held_out)):
        store.write_rows(out.absolute() / f"{name}.jsonl", rows, {
            "source": dataset.path.name, "sha256": dataset.sha256,
            "steps": [{"split": name, "ratio": share, "seed": seed, "by": by}]})
    return _done({"out": str(out), "train": len(train), "eval": len(held_out), "seed": seed}, as_json)


@app.command()
def mix(
    parts: Annotated[list[str], typer.Argument(metavar="FILE=WEIGHT...", help="Files with rows of the same kind, "
                                                                              "each with a weight. 0.5 takes every "
                                                                              "other row, 2 takes each row twice; "
                                                                              "the default is 1.")],
    out: Annotated[Path, typer.Option(help="JSONL file to write.")],
    seed: Annotated[int, typer.Option(help="A different seed takes different rows.")] = 0,
    as_json: Json = False,
) -> int:
    """Combine several datasets into one, with a weight for each. The files themselves are never changed."""
    from slmstudio.core.data.versions import edits, store

    weighted = [_weighted(part) for part in parts]
    spare([file for file, _ in weighted], out)
    with Follower() as follower:
        wanted = [edits.Part(asking.read(file, None, follower, convert=True), weight) for file, weight in weighted]
        records = edits.mix(wanted, seed)
    store.write_rows(out.absolute(), records, {"sources": [each.to_dict() for each in edits.sources(wanted)],
                                               "steps": [{"mix": len(records)}], "seed": seed})
    return _done({"out": str(out), "records": len(records), "seed": seed,
                  "rows": {part.dataset.path.name: part.count for part in wanted}}, as_json)


def _weighted(text: str) -> tuple[Path, float]:
    """A file and its weight; a name may have an equals sign of its own."""
    name, equals, weight = text.rpartition("=")
    if not equals or (Path(text).exists() and not Path(name).exists()):
        return Path(text), 1.0
    try:
        return Path(name), float(weight)
    except ValueError:
        raise UserError(tr("“{weight}” isn't a weight.", weight=weight),
                        tr("A weight is a number, for example rows.jsonl=0.5."), tr("Correct it.")) from None


def _done(result: dict[str, Any], as_json: bool) -> int:
    if as_json:
        print_json(result)
    else:
        print_table(tr("Done"), [(name, str(value)) for name, value in result.items()])
    return 0
