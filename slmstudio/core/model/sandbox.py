"""A jinja2 sandbox for chat templates, with transformers' settings and with limits.

A chat template comes with a model, from anybody. The sandbox keeps it away from Python's insides; the limits keep it
from taking the program along. Bounded are:

- time: every pass of a loop, every call of a macro and every piece of output looks at the clock (`MAX_SECONDS`);
- output: at most `MAX_CHARACTERS` more than four times what the messages hold;
- values on the way: texts and lists made by `+`, `*`, `~`, `%`, `join`, `replace`, or padded to a width, and powers;
- `range`, by jinja2 itself (100,000), and the depth of recursion, by Python.

Not bounded is the work of one single filter over an already large list; the clock is looked at after it.

This module imports jinja2, so `chat_template` imports it only when a template is used.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

import jinja2.exceptions
import jinja2.ext
import jinja2.nodes as nodes
import jinja2.parser
import jinja2.runtime
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor

MAX_SOURCE = 1_000_000
"""A template has at most so many characters."""
MAX_CHARACTERS = 8 * 2**20
MAX_ITEMS = 1_000_000
MAX_SECONDS = 5.0


class LimitReached(jinja2.TemplateError):
    """The template asked for too much."""


class Refusal(jinja2.TemplateError):
    """The template called `raise_exception`: it does not take this conversation."""


@dataclass
class _Budget:
    """What a rendering may use, and has used.

    `written` also counts what goes into variables and out of macros, where it can be written again; so it may reach
    four times `characters`.
    """

    characters: int
    deadline: float
    ticks: int = 0
    written: int = 0

    def tick(self) -> bool:
        self.ticks += 1
        if self.ticks % 64 == 0 and time.monotonic() > self.deadline:
            raise LimitReached(f"it did not end within {MAX_SECONDS:g} seconds")
        return True

    def write(self, length: int) -> None:
        self.tick()
        self.written += length
        _check_length(self.written // 4)


_BUDGET: ContextVar[_Budget] = ContextVar("budget")


def render(source: str, variables: dict[str, Any], input_characters: int) -> str:
    """Render a template within the limits.

    Raises:
        Refusal: the template says no.
        LimitReached: it takes too long or grows too large.
        Exception: whatever else a broken template leads to; the caller turns it into a sentence.
    """
    template = compiled(source)
    budget = _Budget(MAX_CHARACTERS + 4 * input_characters, time.monotonic() + MAX_SECONDS)
    token = _BUDGET.set(budget)
    try:
        pieces, length = [], 0
        for piece in template.generate(**variables):
            pieces.append(piece)
            length += len(piece)
            _check_length(length)
        return "".join(pieces)
    finally:
        _BUDGET.reset(token)


@lru_cache(maxsize=32)
def compiled(source: str) -> jinja2.Template:
    """Parse and compile a template.

    Raises:
        LimitReached: it is too long.
        Exception: jinja2's TemplateSyntaxError, or what Python's compiler says of absurd nesting.
    """
    if len(source) > MAX_SOURCE:
        raise LimitReached(f"it is longer than {MAX_SOURCE:,} characters")
    return _environment().from_string(source)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    """transformers' environment (utils/chat_template_utils.py, `_compile_jinja_template`) plus the limits."""
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Limits, jinja2.ext.loopcontrols],
                               finalize=_checked)
    environment.filters["tojson"] = _tojson
    for name in ("join", "replace", "center", "indent", "format", "string"):
        environment.filters[name] = _bounded_filter(name, environment.filters[name])
    for name in ("wordwrap", "urlize", "xmlattr", "pprint"):  # slow or growing beyond bound, and no template needs them
        del environment.filters[name]
    del environment.globals["lipsum"]
    environment.globals.update({"raise_exception": _raise_exception, "dict": _Dict(), "namespace": _Namespace,
                                "strftime_now": lambda format: datetime.now().strftime(format)})
    return environment


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            if not (_is_small(left, 10**6) and _is_small(right, 64)):
                raise LimitReached("a power is too large")
        elif operator == "*":
            # Either side may be the text or the list that is repeated.
            for value, times in ((left, right), (right, left)):
                if isinstance(value, (str, list, tuple)) and isinstance(times, int):
                    _check_size(value, times)
        elif operator == "+" and isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
            _check_size(left, 1, len(right))
        elif operator == "%" and isinstance(left, str):
            _check_widths(left, right)
        return super().call_binop(context, operator, left, right)

    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        """Reaching for Python's insides ends the rendering at once, even if nothing is done with it."""
        if attribute.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"it reaches for {attribute!r}")
        return super().unsafe_undefined(obj, attribute)

    def call(__self, __context: jinja2.runtime.Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        method = getattr(__obj, "__wrapped__", __obj)  # the sandbox wraps `format`
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str):
            _check_method(method.__name__, owner, args)
        return super().call(__context, __obj, *args, **kwargs)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return _Meter().visit(super()._parse(source, name, filename))  # type: ignore[no-any-return]


class _Limits(jinja2.ext.Extension):
    """The `{% generation %}` tag, and the functions that `_Meter` puts into a template."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller: Callable[[], str]) -> str:
        return caller()

    def tick(self) -> bool:
        return _BUDGET.get().tick()

    def wrote(self, length: int) -> None:
        _BUDGET.get().write(length)

    def concatenate(self, *values: Any) -> str:
        """`a ~ b`, as jinja2 does it, with the length looked at first."""
        texts = [str(value) for value in values]
        _check_length(sum(map(len, texts)))
        return "".join(texts)


class _Meter(jinja2.visitor.NodeTransformer):
    """Puts a look at the budget into every loop, macro and text, and bounds `~`. What is rendered stays the same."""

    def _call(self, name: str, *arguments: nodes.Expr) -> nodes.Call:
        return nodes.Call(nodes.ExtensionAttribute(_Limits.identifier, name), list(arguments), [], None, None)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(self._call("tick")).set_lineno(node.lineno))
        if node.test is not None:
            node.test = nodes.And(self._call("tick"), node.test).set_lineno(node.lineno)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(self._call("tick")).set_lineno(node.lineno))
        return node

    def visit_Output(self, node: nodes.Output) -> list[nodes.Node]:
        self.generic_visit(node)
        length = sum(len(part.data) for part in node.nodes if isinstance(part, nodes.TemplateData))
        count = nodes.ExprStmt(self._call("wrote", nodes.Const(length))).set_lineno(node.lineno)
        return [count, node] if length else [node]

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._call("concatenate", *node.nodes).set_lineno(node.lineno)


def _check_length(length: int) -> None:
    if length > _BUDGET.get().characters:
        raise LimitReached(f"it makes more than {_BUDGET.get().characters:,} characters of text")


def _check_size(value: str | list[Any] | tuple[Any, ...], times: int, more: int = 0) -> None:
    length = len(value) * max(times, 0) + more
    if isinstance(value, str):
        _check_length(length)
    elif length > MAX_ITEMS:
        raise LimitReached(f"it makes a list of more than {MAX_ITEMS:,} items")


def _checked(value: Any) -> Any:
    """Count what is written out. A list may hold one long text a thousand times."""
    size = _text_size(value)
    _check_length(size)
    _BUDGET.get().write(size)
    return value


def _is_small(value: Any, limit: int) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= limit


def _check_widths(pattern: str, values: Any = ()) -> None:
    """No field of `%` or `format` may be padded to more than six digits' width, nor to one that is computed."""
    if re.search(r"\d{7}|%[^a-zA-Z]*\*|:[^{}]*\{", pattern):
        raise LimitReached("a width is too large")
    _check_length(len(pattern) + pattern.count("%") * _text_size(values))


def _check_method(name: str, text: str, args: tuple[Any, ...]) -> None:
    """Look at a call of a text's own method before it is made."""
    if name in ("format", "format_map"):
        _check_widths(text)
        _check_length(len(text) + text.count("{") * _text_size(args))
    elif name == "replace" and len(args) >= 2 and isinstance(args[0], str) and isinstance(args[1], str):
        _check_length(len(text) + text.count(args[0]) * len(args[1]))
    elif name == "join" and args:
        _check_length(_text_size(args[0], len(text)))
    elif name in ("ljust", "rjust", "center", "zfill", "expandtabs"):
        _check_length(max([len(text), *(arg * (text.count("\t") + 1) for arg in args if isinstance(arg, int))]))
    elif name == "translate":
        raise LimitReached("it calls `translate`")


def _text_size(value: Any, separator: int = 0, depth: int = 0) -> int:
    """About how many characters `value` has when it is written out; stops counting at the limit."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if not isinstance(value, (list, tuple)) or depth > 50:
        return 24
    total, limit = 0, _BUDGET.get().characters
    for item in value:
        total += _text_size(item, 2, depth + 1) + separator
        if total > limit:
            break
    return total


def _bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of jinja2 that looks at the sizes first. `wraps` keeps jinja2's mark that says what it is passed."""
    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        passed = [arg for arg in (*args, *kwargs.values())
                  if not isinstance(arg, (jinja2.Environment, jinja2.runtime.Context, nodes.EvalContext))]
        if passed and not isinstance(passed[0], (str, list, tuple, dict)) and isinstance(passed[0], Iterable):
            return function(*args, **kwargs)
        size = _text_size(passed)
        if name == "replace" and len(passed) >= 3:
            text, old, new = str(passed[0]), str(passed[1]), str(passed[2])
            size = len(text) + text.count(old) * len(new)
        elif name == "join" and len(passed) >= 2:
            size = _text_size(passed[0], len(str(passed[1])))
        elif name == "format":
            _check_widths(str(passed[0]), passed[1:])
        elif name in ("center", "indent"):
            lines = str(passed[0]).count("\n") + 1 if name != "center" else 1
            size += lines * sum(len(str(arg)) if isinstance(arg, str) else int(arg) for arg in passed[1:] if arg)
        _check_length(size)
        return function(*args, **kwargs)

    return bounded


def _tojson(x: Any, ensure_ascii: bool = False, indent: int | None = None, separators: tuple[str, str] | None = None,
            sort_keys: bool = False) -> str:
    """JSON without HTML escapes, as transformers' filter of this name."""
    _check_length(_text_size(x))
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise Refusal(str(message))


class _Dict:
    """`dict` for templates: it can be called, and nothing else."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


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
            raise jinja2.exceptions.SecurityError(f"it stores {name!r} in a namespace")
