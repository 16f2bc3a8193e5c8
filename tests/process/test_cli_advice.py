"""What an evaluation proposes in the terminal, and the command that does it."""

from __future__ import annotations

import shlex

import pytest
import typer
from support import evaluated_runs

from slmstudio.cli import commands, evaluate
from slmstudio.core.evaluation.advice import proposals
from slmstudio.core.evaluation.advice.proposals import Proposal


@pytest.mark.parametrize(("action", "changes", "words"), [
    (proposals.TRAIN, {"epochs": 2.0}, "continue RUN --epochs 2.0 --out next.json"),
    (proposals.AGAIN, {"learning_rate": 7e-5}, "train RUN/run.json --set learning_rate=7e-05"),
    (proposals.AGAIN, {"epochs": 1.5}, "train RUN/run.json --set max_steps=None --set epochs=1.5"),
    (proposals.RESUME, {}, "train RUN"), (proposals.EVALUATE, {"max_new_tokens": 256},
                                          "evaluate RUN --max-new-tokens 256"),
    (proposals.EVALUATE, {"limit": 730}, "evaluate RUN --limit 730"),
    (proposals.EVALUATE, {"limit": 730, "test": "/a.jsonl"}, "evaluate RUN --limit 730 --test /a.jsonl"),
    (proposals.OTHER_TEST, {}, "evaluate RUN --test FILE"), (proposals.EXPORT, {}, "export RUN"),
    (proposals.CHAT, {}, "chat RUN"), (proposals.ROWS, {}, "")])
def test_a_proposal_has_a_command_that_the_program_understands(tmp_path, studio_home, tiny_model, action, changes,
                                                               words):
    run = evaluated_runs.ended_run("forms", tiny_model)
    given = evaluate.prepared(Proposal(action, "Do it", "Because.", changes), run)
    assert given.endswith(words.replace("RUN", str(run)))
    if words:
        name, *arguments = shlex.split(given)[-len(words.split()):]
        group = typer.main.get_command(commands.app)
        with group.make_context("slmstudio", [name, *arguments], resilient_parsing=True) as context:
            group.get_command(context, name).make_context(name, arguments, parent=context)
