"""Commands about base models: which there are, how to get one, whether it can be trusted and fits."""

import typer

from slmstudio.cli.models import get, listing
from slmstudio.cli.words import Group

app = typer.Typer(name="models", cls=Group, no_args_is_help=False,
                  help="Base models: those on disk and those that can be downloaded.")
app.callback(invoke_without_command=True)(listing.models)
app.command("list")(listing.list_)
app.command()(get.get)
app.command("import")(get.import_)
app.command()(get.token)
app.command()(listing.vet)
app.command()(listing.recommend)
