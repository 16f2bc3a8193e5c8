"""Exports and their proofs in the terminal."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from slmstudio.cli.output import Json, figure, print_error, print_json, print_table, print_time, run_or_folder, say
from slmstudio.cli.progress import carry_out
from slmstudio.core import files, jobs, llama, program
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs import new
from slmstudio.core.units import format_bytes

app = typer.Typer()


@app.command()
def export(
    run: Annotated[Path, typer.Argument(parser=run_or_folder, help="A run, by its name or folder; or a model folder.")],
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, IQ4_XS, Q3_K_M or Q2_K; MERGED, a "
                                    "folder for vLLM; ADAPTER; LORA, the adapter as GGUF. Can be given several times."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the files; by default, exports in the run's "
                                                  "folder.")] = None,
    importance: Annotated[
        bool, typer.Option(help="Measure on the training rows which weights matter most, and round those less in "
                                "types below Q4_K_M.")
    ] = new.IMPORTANCE,
    as_json: Json = False,
) -> int:
    """Turn a finished run into files in one pass, and compare each GGUF file with the trained model.

    Exit status 1 if a proof fails: the file is kept, and its .parity.json says what is wrong.
    """
    from slmstudio.core.export.types import DEFAULT_TYPES, came_in, choose, why_not
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.model.facts import read_model
    from slmstudio.core.run.time_estimate import exporting

    if not run.is_dir():
        raise UserError(tr("{run} isn't a folder.", run=run), "",
                        tr("Give a run folder. To see them: {command}", command=program.command("runs")))
    base = Path(jobs.Job(run).request()["model"]) if (run / jobs.RUN).is_file() else run
    if not types and (base_type := came_in(base)) in DEFAULT_TYPES:
        types = ["Q8_0"]
        say(join_sentences(why_not(base_type), tr("{type} is exported instead.", type=types[0])), file=sys.stderr)
    chosen, others = choose(types or DEFAULT_TYPES)
    if chosen:
        llama.need()
    names = [kind.name for kind in (*chosen, *others)]
    job = new.export(run, names, out, importance)
    with contextlib.suppress(UserError):  # of what is wrong with the model the job speaks
        print_time(exporting(read_model(base), read_machine(), names))
    outcome = carry_out(job, "export")
    if not outcome.was_successful():
        print_error(outcome.user_error(), as_json=False)
    made = outcome.result.get("files", [])
    failures = [f"{Path(file['path']).name}: {text}" for file in made if file["parity"]
                for text in file["parity"]["failures"]]
    if as_json:
        print_json({"run_dir": str(run), "outcome": outcome.state, **outcome.result, "error": outcome.error})
    elif made:
        columns = (tr("File"), tr("Size"), tr("Tokens equal"), "Top-1", "NMSE", tr("Proof"))
        print_table(tr("Exports"), [_row(file) for file in made], columns)
        for note in outcome.result["notes"]:
            say(note)
    for failure in failures:
        say(tr("error: {text}", text=failure), file=sys.stderr)
    return outcome.exit_status or (1 if failures else 0)


def _row(file: dict[str, Any]) -> tuple[str, ...]:
    size = format_bytes(file["bytes"])
    if not (proof := file["parity"]):
        return file["path"], size, "–", "–", "–", "–"
    measured = proof["positions"] > 0
    return (file["path"], size, tr("yes") if proof["token_ids_equal"] else tr("NO"),
            figure(proof["top1"], ".1%") if measured else "–", figure(proof["nmse"], ".1e") if measured else "–",
            tr("passed") if proof["passed"] else tr("FAILED"))


@app.command()
def parity(
    run: Annotated[Path, typer.Argument(parser=run_or_folder, help="What the file was made from: a run, by its name or "
                                                               "folder; or a model folder.")],
    gguf: Annotated[Path, typer.Argument(help="GGUF file.")],
    as_json: Json = False,
) -> int:
    """Check that a GGUF file gives the same answers as the trained model. Exit status 1 if it doesn't.

    The result is saved beside the file, as NAME.parity.json.
    """
    for path in (run, gguf):
        if not path.exists():
            raise UserError(tr("{path} doesn't exist.", path=path), "", tr("Check the path."))
    llama.need()
    outcome = carry_out(new.parity(run, gguf), "parity")
    if not outcome.was_successful():
        print_error(outcome.user_error(), as_json)
        return outcome.exit_status
    result = outcome.result
    with os_errors_as(tr("Could not save the proof beside the file.")):
        files.write_atomically(gguf.with_suffix(".parity.json"), files.dump_pretty(result))
    if as_json:
        print_json({"gguf": str(gguf), "run": str(run), **result})
    else:
        print_checks(f"{gguf.name} ({result['type']})", result)
    for failure in result["failures"]:
        say(tr("error: {text}", text=failure), file=sys.stderr)
    return 0 if result["passed"] else 1


def print_checks(title: str, parity: dict[str, Any]) -> None:
    from slmstudio.core.export.proof import HEADINGS, LABELS, required, result

    rows = [(tr(LABELS[check["name"]]) if check["name"] in LABELS else check["name"], check["figure"], required(check),
             tr("FAILED") if check.get("passed") is False else result(check)) for check in parity["checks"]]
    print_table(title, rows, tuple(map(tr, HEADINGS)))
