"""Commands about runs: plan one, try whether it fits, train it, queue it, and what can be done with it afterwards."""

import typer

from slmstudio.cli.runs import existing, listing, plan, queue, train

app = typer.Typer()
for commands in (plan, train, existing, queue, listing):
    app.add_typer(commands.app)
