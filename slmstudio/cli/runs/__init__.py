"""Commands about runs: plan one, try whether it fits, train it, queue it, and what can be done with it afterwards."""

import typer

from slmstudio.cli.runs import existing, fields, listing, plan, queue, train

app = typer.Typer()
app.add_typer(plan.app)
app.add_typer(fields.app)
app.add_typer(train.app)
app.add_typer(existing.app)
app.add_typer(queue.app, name="queue")
app.add_typer(listing.app, name="runs")
