"""A jinja2 sandbox for chat templates, with transformers' settings and with limits.

The sandbox keeps a template away from Python's insides; the limits keep it from taking the program along. Bounded are:

- time: every pass of a loop, every call of a macro and every piece of output looks at the clock;
- output: at most `MAX_CHARACTERS` more than four times what the messages hold;
- values on the way: operators, filters, tests, methods, slices and literals look at the sizes first (`bounds`,
  `filters`), and what all of them make is counted; whole numbers have at most 4,096 bits, and there are no bytes;
- `range`, by jinja2 itself (100,000), and the depth of recursion, by Python.

Nothing is worked out while a template is compiled: jinja2's optimizer would do it without any limit.

This module imports jinja2, so `chat_template` imports it only when a template is used.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes as nodes
import jinja2.parser
import jinja2.runtime
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor

from slmstudio.core.i18n import tr
from slmstudio.core.model.foreign import bounds, filters
from slmstudio.core.model.foreign.bounds import BUDGET, Budget, LimitReached

MAX_SOURCE = 250_000
"""A template has at most this many characters; those of models have up to 30,000."""
MAX_LITERAL = 8
"""Items of a list that is written out in a template, beyond which it is counted each time it is made."""


class Refusal(jinja2.TemplateError):
    """The template called `raise_exception`: it doesn't take this conversation."""


def render(source: str, variables: dict[str, Any], input_characters: int) -> str:
    """Render a template within the limits.

    Raises:
        Refusal: the template refuses the conversation.
        LimitReached: it takes too long or grows too large.
        Exception: whatever else a broken template leads to; the caller turns it into a sentence.
    """
    template = compiled(source)
    token = BUDGET.set(Budget(bounds.MAX_CHARACTERS + 4 * input_characters, time.monotonic() + bounds.MAX_SECONDS))
    try:
        pieces, length = [], 0
        for piece in template.generate(**variables):
            pieces.append(piece)
            length += len(piece)
            bounds.check_length(length)
        return "".join(pieces)
    finally:
        BUDGET.reset(token)


@lru_cache(maxsize=32)
def compiled(source: str) -> jinja2.Template:
    """Parse and compile a template.

    Raises:
        LimitReached: it is too long.
        Exception: jinja2's TemplateSyntaxError, or what Python's compiler says about absurd nesting.
    """
    if len(source) > MAX_SOURCE:
        raise LimitReached(tr("It is longer than {count:,} characters.", count=MAX_SOURCE))
    return _environment().from_string(source)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    """transformers' environment (utils/chat_template_utils.py, `_compile_jinja_template`) plus the limits."""
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Limits, jinja2.ext.loopcontrols],
                               finalize=_written, optimized=False)
    environment.filters["tojson"] = _tojson
    for name in filters.GONE:
        del environment.filters[name]
    for name, function in environment.filters.items():
        environment.filters[name] = filters.bounded_filter(name, function)
    tests: dict[str, Any] = environment.tests
    for name in tests:
        tests[name] = filters.bounded_test(tests[name])
    del environment.globals["lipsum"]
    environment.globals.update({"raise_exception": _raise_exception, "dict": _Dict(), "namespace": _Namespace,
                                "strftime_now": _strftime_now})
    return environment


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "-", "*", "**", "%"])

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        bounds.check_operation(operator, left, right)
        return bounds.kept(super().call_binop(context, operator, left, right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """A number's methods make bytes; a template needs none of them."""
        return not isinstance(obj, (int, float, bytes)) and super().is_safe_attribute(obj, attr, value)

    def unsafe_undefined(self, obj: Any, attribute: str) -> jinja2.Undefined:
        """Reaching for Python's insides ends the rendering at once, even if nothing is done with it."""
        if attribute.startswith("_"):
            raise jinja2.exceptions.SecurityError(tr("it tries to access {name!r}", name=attribute))
        return super().unsafe_undefined(obj, attribute)

    def call(__self, __context: jinja2.runtime.Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        method = getattr(__obj, "__wrapped__", __obj)  # the sandbox wraps `format`
        owner = getattr(method, "__self__", None)
        BUDGET.get().make(36 * (len(args) + len(kwargs)))  # `cycler(*range(99999))`
        if isinstance(owner, str):
            args = bounds.method_arguments(method.__name__, owner, args, kwargs)
        return bounds.kept(super().call(__context, __obj, *args, **kwargs))

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
        return BUDGET.get().tick()

    def wrote(self, length: int) -> None:
        BUDGET.get().write(length)

    def kept(self, value: Any) -> Any:
        return bounds.kept(value)

    def compared(self, value: Any) -> Any:
        return bounds.checked(value) if isinstance(value, (list, tuple, dict)) else value

    def concatenate(self, *values: Any) -> str:
        """`a ~ b`, as jinja2 does it, with the length looked at first."""
        bounds.checked(values)
        texts = [str(value) for value in values]
        bounds.check_length(sum(map(len, texts)))
        return str(bounds.kept("".join(texts)))


class _Meter(jinja2.visitor.NodeTransformer):
    """Puts a look at the budget into every loop, macro, text, comparison, slice and long list, and bounds `~`. What is
    rendered stays the same."""

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

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        """Lists that hold each other many times take forever to compare. A text or a number in the template doesn't."""
        self.generic_visit(node)
        places: list[Any] = [node, *node.ops]
        for place in places:
            if not isinstance(place.expr, nodes.Const):
                place.expr = self._call("compared", place.expr).set_lineno(node.lineno)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return self._call("kept", node).set_lineno(node.lineno) if isinstance(node.arg, nodes.Slice) else node

    def _visit_literal(self, node: nodes.List | nodes.Tuple | nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        if len(node.items) <= MAX_LITERAL or getattr(node, "ctx", "load") != "load":
            return node
        return self._call("kept", node).set_lineno(node.lineno)

    visit_List = visit_Tuple = visit_Dict = _visit_literal


@jinja2.pass_context  # so that jinja2 writes out no filter's value while it compiles
def _written(_context: jinja2.runtime.Context, value: Any) -> Any:
    """Count what is written out. A list may hold one long text a thousand times."""
    size = bounds.text_size(value)
    bounds.check_length(size)
    BUDGET.get().write(size)
    return value


def _tojson(x: Any, ensure_ascii: bool = False, indent: int | None = None, separators: tuple[str, str] | None = None,
            sort_keys: bool = False) -> str:
    """JSON without HTML escapes, as transformers' filter of this name."""
    filters.check_json(x, indent, separators)
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise Refusal(str(bounds.checked(message)))


def _strftime_now(format: str) -> str:
    """The time as transformers writes it. Some C libraries pad a field to any width, as in %999999999d."""
    if len(format) > 200 or re.search(r"%[^a-zA-Z%]*\d", format):
        raise LimitReached(tr("It makes too long a date."))
    return datetime.now().strftime(format)


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
            raise jinja2.exceptions.SecurityError(tr("it stores {name!r} in a namespace", name=name))
