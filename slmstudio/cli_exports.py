"""The proof of an exported file in the terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from slmstudio.cli_progress import Follower, print_error, print_json, print_table
from slmstudio.core import jobs, paths
from slmstudio.core.errors import UserError

app = typer.Typer()
LABELS = {
    "tokens": "Token ids equal",
    "prompt": "Prompt text equal",
    "bos": "Beginning of sequence",
    "stop": "Stops at the end of a turn",
    "settings": "Settings of the architecture",
    "embeddings": "Embeddings of all tokens",
    "layers": "Weights of the layers",
    "adapter": "What was learned",
    "nmse": "Error of the logits (NMSE)",
    "top1": "Same first choice (top-1)",
    "kl": "KL divergence",
    "perplexity": "Perplexity, model → file",
}
"""Name of a check in NAME.parity.json: what a person reads."""


@app.command()
def parity(
    run: Annotated[Path, typer.Argument(help="Run folder, or model folder, that the file was made of.")],
    gguf: Annotated[Path, typer.Argument(help="GGUF file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")] = False,
) -> int:
    """Prove that a GGUF file answers as the model that was trained. Exit status 1 when it does not.

    The result is stored beside the file, as NAME.parity.json.
    """
    for path in (run, gguf):
        if not path.exists():
            raise UserError(f"{path} does not exist.", "", "Check the path.")
    place = run.absolute() / "jobs" if (run / jobs.RUN).is_file() else paths.cache_dir() / "jobs"
    job = jobs.Job.create(place / time.strftime("parity-%Y%m%d-%H%M%S"), "parity", run=str(run.absolute()),
                          gguf=str(gguf.absolute()))
    job.start()
    with Follower() as follower:
        outcome = follower.follow(job, "parity")
    if not outcome.was_successful():
        print_error(outcome.user_error(), as_json)
        return 1
    result = outcome.result
    if as_json:
        print_json({"gguf": str(gguf), "run": str(run), **result})
    else:
        print_checks(f"{gguf.name} ({result['type']})", result)
    for failure in result["failures"]:
        print(f"error: {failure}", file=sys.stderr)
    return 0 if result["passed"] else 1


def print_checks(title: str, parity: dict[str, Any]) -> None:
    """The table of a proof."""
    signs = {True: "passed", False: "FAILED", None: "–"}
    rows = [(LABELS.get(check["name"], check["name"]), check["figure"], check["limit"], signs[check["passed"]])
            for check in parity["checks"]]
    print_table(title, rows, ("Check", "Found", "Right", "Result"))
