"""What typer says by itself, in the language that is spoken: headings of the help, and errors in a command's words.

What stays English: the placeholders OPTIONS, COMMAND, ARGS and TEXT, and why a value has the wrong form.
"""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

from slmstudio.cli.output import print_error, say
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

HELP = ["--help", "-h"]
"""Options that show the help of a command."""


class Group(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            close = ", ".join(get_close_matches(args[0], self.commands))
            what = tr("There's no command “{word}”.", word=args[0])
            ctx.fail(f"{what} {tr('Did you mean: {names}?', names=close)}" if close else what)
        return super().resolve_command(ctx, args)


class _Formatter(typer.Context.formatter_class):  # type: ignore[name-defined,misc]  # typer has no name of its own for it
    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix if prefix is not None else tr("Usage: "))


class _Context(typer.Context):
    formatter_class = _Formatter

    def make_formatter(self) -> Any:
        """What help and usage are written with. (Its libraries take longer to import than most commands to run.)"""
        from typer import rich_utils

        for name, text in (
            ("ARGUMENTS_PANEL_TITLE", tr("Arguments")), ("OPTIONS_PANEL_TITLE", tr("Options")),
            ("COMMANDS_PANEL_TITLE", tr("Commands")), ("REQUIRED_LONG_STRING", tr("[required]")),
            ("DEFAULT_STRING", tr("[default: {}]")), ("ENVVAR_STRING", tr("[env var: {}]")),
        ):
            setattr(rich_utils, name, text)
        return super().make_formatter()


def translate(one: Any) -> Any:
    """A command that typer has made, with its help, and that of those below it, in the language that is spoken.

    Docstrings of commands and `help=` of options are messages as they stand; `packaging/translations.py` finds them.
    """
    one.context_class = _Context
    if one.help:  # in lines as long as the terminal's, and not as the source's
        one.help = re.sub(r"(?<!\n)\n(?!\n)", " ", tr(one.help))
    if one.short_help:
        one.short_help = tr(one.short_help)
    if (option := one.get_help_option(_Context(one, help_option_names=HELP))) is not None:
        option.help = tr("Show this help.")
    for param in one.params:
        if getattr(param, "help", None):
            param.help = tr(param.help)
    for below in getattr(one, "commands", {}).values():
        translate(below)
    return one


def usage_error(error: Any) -> UserError:
    """Words that a command doesn't understand, told as any other error; prints how the command is used before it."""
    context = getattr(error, "ctx", None)
    remedy = tr("See --help.")
    if context is not None:
        say(context.get_usage(), file=sys.stderr)
        remedy = tr("See: {command}", command=f"{context.command_path} --help")
    return UserError(_sentence(error), "", remedy)


def _sentence(error: Any) -> str:
    kind, param = type(error).__name__, getattr(error, "param", None)
    name = param.get_error_hint() if param is not None else ""
    if kind == "NoSuchOption":
        what = tr("There's no option {option}.", option=error.option_name)
        close = ", ".join(error.possibilities or ())
        return f"{what} {tr('Did you mean: {names}?', names=close)}" if close else what
    if kind == "MissingParameter" and name:
        # What was given is read first, so whatever has no value yet when the first one is missed wasn't given.
        values = error.ctx.params
        names = [each.get_error_hint() for each in error.ctx.command.params
                 if each.required and each.value_is_missing(values.get(each.name))]
        return tr("{name} is missing.", name=name) if len(names) == 1 else tr(
            "These are missing: {names}.", names=", ".join(names))
    if kind == "BadParameter" and name:
        return tr("{name} can't be used: {why}.", name=name, why=str(error.message).rstrip("."))
    return str(error.format_message())


def show(error: Any, as_json: bool) -> None:
    """Print what is wrong with the words of a command; a command that only has commands below it prints its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        print_error(usage_error(error), as_json)
