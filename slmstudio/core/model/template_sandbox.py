"""Renders chat templates with jinja2 and transformers' settings, in the process that `template_client` starts.

The sandbox keeps a template away from Python's insides. Its time and memory are limited by the system
(`foreign_child`), so nothing is measured here but the text, which leaves the process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes as nodes
import jinja2.parser
import jinja2.sandbox
import jinja2.utils

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.json_files import printable

MAX_SOURCE = 250_000
"""A template has at most this many characters; those of models have up to 30,000."""
MAX_CHARACTERS = 8 * 2**20
"""A rendering has at most this many characters in addition to four times those of the messages."""
_CHOOSE = noop("Choose a model with a different chat template.")


class Refusal(jinja2.TemplateError):
    """The template called `raise_exception`: it doesn't take this conversation."""


class LimitReached(jinja2.TemplateError):
    """The template, or what it makes, is too long."""


def check(source: str) -> None:
    """Check that jinja can read a template. Raises UserError where it can't."""
    try:
        _compiled(source)
    except Exception as error:  # jinja's own errors, and what Python's compiler says about absurd nesting
        raise _broken(error) from error


def render(source: str, special_tokens: Mapping[str, str], messages: Sequence[Mapping[str, Any]],
           tools: Sequence[Mapping[str, Any]], **variables: Any) -> str:
    """As `ChatTemplate.render`.

    Args:
        variables: what the template is given in addition, as `add_generation_prompt`.

    Raises:
        UserError: the template refuses the conversation (`__cause__` is `Refusal`), is broken or makes too much text.
    """
    # As transformers does: copies, without keys that hold nothing.
    chat = [{key: value for key, value in message.items() if value is not None} for message in messages]
    most, pieces, length = MAX_CHARACTERS + 4 * (_size(chat) + _size(tools)), [], 0
    try:
        for piece in _compiled(source).generate({**special_tokens, **variables, "messages": chat,
                                                 "tools": list(tools) or None, "documents": None}):
            pieces.append(piece)
            length += len(piece)
            if length > most:
                raise LimitReached(tr("It makes more than {count:,} characters of text.", count=most))
        return "".join(pieces)
    except Refusal as error:
        rest = [message for message in messages if message.get("role") != "system"]
        is_system = 0 < len(rest) < len(messages) and _renders(source, special_tokens, rest, tools, variables)
        raise _refused(messages, is_system, printable(str(error), 300)) from error
    except Exception as error:  # a template is foreign code: it may fail in any way
        raise _broken(error) from error


def _renders(source: str, special_tokens: Mapping[str, str], messages: Sequence[Mapping[str, Any]],
             tools: Sequence[Mapping[str, Any]], variables: dict[str, Any]) -> bool:
    try:
        render(source, special_tokens, messages, tools, **variables)
    except UserError:
        return False
    return True


def _size(value: Any) -> int:
    """Characters of all texts in messages or schemas."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(str(key)) + _size(item) for key, item in value.items())
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 8


def _refused(messages: Sequence[Mapping[str, Any]], is_system: bool, said: str) -> UserError:
    """Say what the template doesn't take; the system message, where it takes the rest."""
    if is_system:
        return UserError(tr("The chat template refuses system messages: {said}", said=said),
                         tr("The model was trained without them."),
                         tr("Remove the system messages, or put their text into the first user message."))
    if any(message.get("tool_calls") or message.get("role") == "tool" for message in messages):
        return UserError(tr("The chat template refuses this conversation: {said}", said=said),
                         tr("The model was trained with different tool calls, or with a different order of roles."),
                         tr("Change or remove such rows, or choose another model."))
    return UserError(tr("The chat template refuses this conversation: {said}", said=said),
                     tr("The model was trained with a different order of roles."),
                     tr("Let user and assistant take turns, the user first, or choose another model."))


def _broken(error: Exception) -> UserError:
    """Say in a sentence why a template was stopped or doesn't work."""
    said = printable(str(error).rstrip("."), 300)
    if isinstance(error, MemoryError):
        return UserError(tr("The chat template was stopped."), tr("It asked for more memory than any template needs."),
                         tr(_CHOOSE))
    if isinstance(error, LimitReached):
        return UserError(tr("The chat template was stopped."), printable(str(error), 300), tr(_CHOOSE))
    if isinstance(error, jinja2.exceptions.SecurityError):
        return UserError(tr("The chat template was stopped."),
                         tr("It does something that no chat template needs: {said}.", said=said), tr(_CHOOSE))
    if isinstance(error, jinja2.TemplateSyntaxError):
        return UserError(tr("The chat template is broken at line {line}.", line=error.lineno), f"{said}.", tr(_CHOOSE))
    kind = type(error).__name__
    return UserError(tr("The chat template doesn't work."), f"{kind}: {said}." if said else f"{kind}.", tr(_CHOOSE))


@lru_cache(maxsize=32)
def _compiled(source: str) -> jinja2.Template:
    if len(source) > MAX_SOURCE:
        raise LimitReached(tr("It is longer than {count:,} characters.", count=MAX_SOURCE))
    return _environment().from_string(source)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    """transformers' environment (utils/chat_template_utils.py, `_compile_jinja_template`)."""
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals.update({"raise_exception": _raise_exception, "namespace": _Namespace,
                                "strftime_now": lambda format: datetime.now().strftime(format)})
    return environment


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        """Reaching for Python's insides ends the rendering at once, even if nothing is done with it."""
        if attribute.startswith("_"):
            raise jinja2.exceptions.SecurityError(tr("it tries to access {name!r}", name=attribute))
        return super().unsafe_undefined(obj, attribute)


class _Generation(jinja2.ext.Extension):
    """The `{% generation %}` tag, which changes nothing here."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller: Callable[[], str]) -> str:
        return caller()


def _tojson(x: Any, ensure_ascii: bool = False, indent: int | None = None, separators: tuple[str, str] | None = None,
            sort_keys: bool = False) -> str:
    """JSON without HTML escapes, as transformers' filter of this name."""
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise Refusal(message)


class _Namespace(jinja2.utils.Namespace):
    """A namespace that keeps no names which begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # `namespace(self=...)` must stay possible
        self, rest = args[0], args[1:]
        values = dict(*rest, **kwargs)
        for name in values:
            _Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._check(name)
        super().__setitem__(name, value)

    @staticmethod
    def _check(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(tr("it stores {name!r} in a namespace", name=name))
