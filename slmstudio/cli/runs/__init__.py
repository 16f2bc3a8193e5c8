"""Commands about runs: plan one, try whether it fits, train it, queue it, and what can be done with it afterwards."""

import typer

from slmstudio.cli.runs import existing, plan, queue, train, tune

app = typer.Typer()
for commands in (plan.app, train.app, tune.app, existing.app, queue.app, queue.runs_app):
    app.add_typer(commands)
