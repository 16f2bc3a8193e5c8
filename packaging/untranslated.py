"""Finds words in the code that people would see in English whatever their language: those that no `tr` is around.

`translations.py check` prints them. What has to stay as it is, is in `ALLOWED`, with its reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

MARKS = ("tr", "noop", "ntr", "nnoop", "ptr")
"""What makes a literal a message."""
EVERY = -1
SHOWN: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("UserError", "Stop", "say", "print_table", "_say", "addTab", "addRow", "addButton"), (EVERY,)),
    **dict.fromkeys((
        "Problem", "QLabel", "text_label", "QPushButton", "QCheckBox", "QRadioButton", "QGroupBox", "QToolButton",
        "QAction", "setText", "setToolTip", "setAccessibleName", "setAccessibleDescription", "setPlaceholderText",
        "setWindowTitle", "setTitle", "setStatusTip", "setWhatsThis", "setInformativeText", "setPrefix", "setSuffix",
        "addAction", "addMenu", "setTabText", "setItemText", "setHorizontalHeaderLabels", "setHeaderLabels"), (0,)),
}
"""Calls whose arguments people see, with the places of these arguments."""
SHOWN_BY_NAME = ("what", "why", "remedy", "tooltip", "tool_tip", "title", "label", "placeholder")
"""Arguments that people see, in the calls above."""
ROOMS = ("core", "gui", "cli", "worker")
WORD = re.compile(r"(?<![\w%{<./@-])[A-Za-z]*[a-z]{2,}(?![\w}./-]*[}_/=@-])")
NAMES = re.compile(r"SLM Studio|GGUF|GitHub|llama(\.cpp|-server)?|Ollama|vLLM|PyTorch|Hugging Face|JSONL?|tokens?/s"
                   r"|chrF\+*|https?://\S+|--[\w-]+|\bLoRA\b|<[^<>]*>|&\w+;|\w+\.\w{2,5}\b|\$\S+|\bms\b|\bpx\b|&")
"""What is the same in every language: products, formats, addresses, options, tags, names of files, units."""
ALLOWED: dict[str, str] = {
    "slmstudio/worker/gguf_chat/service.py: The chat worker doesn't know": "only a mistake in the code causes it",
    "slmstudio/worker/serve/serve.py: The server doesn't know the command": "only a mistake in the code causes it",
}
"""Beginnings of paths, or `path: the words`, that may stay English, each with its reason."""


def unmarked(root: Path) -> Iterator[str]:
    """Each literal that is shown without having been marked, as `path:line: the words`."""
    for room in ROOMS:
        for file in sorted((root / "slmstudio" / room).rglob("*.py")):
            name = file.relative_to(root).as_posix()
            for line, words in in_source(file.read_text(encoding="utf-8")):
                if not any(f"{name}: {words}".startswith(allowed) for allowed in ALLOWED):
                    yield f"{name}:{line}: {words}"


def in_source(source: str) -> Iterator[tuple[int, str]]:
    """The same for one module: lines and words.

    >>> list(in_source("say('No runs yet.')"))
    [(1, 'No runs yet.')]
    >>> list(in_source("say(tr('No runs yet.')); say(f'{name}: {reason}'); say('llama.cpp --json')"))
    []
    >>> list(in_source("tr(f'{rows} rows')"))
    [(1, 'not a literal message: {} rows')]
    >>> list(in_source("typer.Option(help='Rows.'); typer.Option(help=f'Rows: {NAMES}.')"))
    [(1, 'Rows: {}.')]
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = _name(node)
        if name in MARKS and isinstance(node.func, ast.Name):
            yield from ((node.lineno, f"not a literal message: {words}") for words in _composed(node, name))
            continue
        places = SHOWN.get(name, ())
        seen = [argument for place, argument in enumerate(node.args) if EVERY in places or place in places]
        seen += [word.value for word in node.keywords if places and word.arg in SHOWN_BY_NAME]
        # A literal help of a command or option is a message by itself.
        seen += [word.value for word in node.keywords
                 if word.arg == "help" and not isinstance(word.value, ast.Constant)]
        for argument in seen:
            for literal, words in _literals(argument):
                if _says_something(words):
                    yield literal.lineno, words


def _name(call: ast.Call) -> str:
    function = call.func
    return str(getattr(function, "id", "") or getattr(function, "attr", ""))


def _composed(call: ast.Call, name: str) -> Iterator[str]:
    """Messages that aren't literals: gettext's tools read the code, so they can't find these."""
    for text in call.args[:1] if name in ("tr", "noop") else call.args[:2]:
        if isinstance(text, (ast.JoinedStr, ast.BinOp)):
            yield " ".join(words for _, words in _literals(text)) or ast.unparse(text)


def _literals(node: ast.expr) -> Iterator[tuple[ast.expr, str]]:
    """The literals that an expression may become, without those that a call inside it receives."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node, node.value
    elif isinstance(node, ast.JoinedStr):
        yield node, "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _literals(part.value)
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        yield from _literals(node.left)
        yield from _literals(node.right)
    elif isinstance(node, (ast.BoolOp, ast.List, ast.Tuple, ast.Set)):
        for part in node.values if isinstance(node, ast.BoolOp) else node.elts:
            yield from _literals(part)
    elif isinstance(node, ast.Starred):
        yield from _literals(node.value)
    elif isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        yield from _literals(node.elt)


def _says_something(words: str) -> bool:
    """Whether words have a meaning in English, beside names and placeholders."""
    return WORD.search(NAMES.sub(lambda found: "" if found[0] == "&" else " ", words)) is not None
