"""Values of rows as texts; and the lists and objects that the cells of a table hold, as JSON or as Python prints them,
as `datasets` and pandas do."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from slmstudio.core.data.mapping.speakers import are_texts
from slmstudio.core.data.sources.row import number_text

LONGEST = 1 << 20
"""Characters of a cell that is taken for what Python prints; its parser needs a hundred times as much memory."""
_TWO_TEXTS = re.compile(r"""(?<=['"])\s+(?=['"])""")
"""NumPy prints no commas; Python would read 'one' 'two' as one text."""
_LIST = re.compile(r"""\s*[\[{]\s*['"]""")
_OBJECTS = re.compile(r"\} *\r?\n *\{")
_PASSAGES = ("contexts", "sentences", "passage_text", "paragraph_text", "text", "content", "summary")
_TEXTS = ("text", "full_text", "content", "value", "answer", "spans", "human_readable")


def search(path: Any, value: Any, options: Any = None) -> Any:
    """What a compiled JMESPath expression finds in a value; None if that is nothing, or something of another kind than
    it expects."""
    try:
        return path.search(value, options)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):  # files hold anything
        return None


def value_in(text: str) -> Any:
    """The list or object that a text holds, or the text itself."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    value = parsed(text)
    return value if isinstance(value, (list, dict)) else text


def is_printed(value: Any) -> bool:
    """Whether a value is the text of a list that can't be read back."""
    return isinstance(value, str) and _LIST.match(value) is not None


def parsed(value: Any) -> Any:
    """The value that a text holds as JSON, or as Python prints it; any other as it is."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return as_python(value)
    return value


def as_python(text: str) -> Any:
    """The value of a text as Python prints it; of objects that NumPy prints, without commas between them, too, and of
    quotes that were escaped twice. Otherwise the text."""
    if text.lstrip()[:1] not in ("{", "[") or "'" not in text or len(text) > LONGEST or _TWO_TEXTS.search(text):
        return text
    once = _OBJECTS.sub("}, {", text.strip())
    for each in (once, once.replace("\\\\'", "\\'")):
        try:
            return json.loads(json.dumps(ast.literal_eval(each)))  # nothing but what JSON can hold
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
    return text


def as_text(value: Any) -> Any:
    """A value as text where it plainly is one: a number, or the first of several right answers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, dict):
        value = next((value[key] for key in _TEXTS if key in value), value)
    if isinstance(value, list) and value:
        if all(isinstance(each, str) for each in value):
            return value[0]
        if all(isinstance(each, dict) and isinstance(as_text(each), str) for each in value):
            return as_text(value[0])
    return value


def passage(value: Any) -> Any:
    """What a question is about as one text, of passages, of their sentences, and of objects that hold these, as in
    HotpotQA and PubMedQA; a value of another kind stays as it is.

    >>> passage({"title": ["Goa", "Pune"], "sentences": [["One.", " Two."], ["Three."]]})
    'Goa One. Two.\\n\\nPune Three.'
    """
    if isinstance(value, dict):
        inner = next((value[key] for key in _PASSAGES if isinstance(value.get(key), (str, list))), None)
        titles = value.get("title")
        if isinstance(titles, list) and isinstance(inner, list) and len(titles) == len(inner):
            inner = [list(each) for each in zip(titles, inner, strict=True)]
        return value if inner is None else passage(inner)
    if not isinstance(value, list) or not value:
        return value
    parts = [passage(each) if isinstance(each, dict) else _line(each) for each in value]
    return "\n\n".join(parts) if all(isinstance(each, str) for each in parts) else value


def _line(value: Any) -> Any:
    """The texts of a list, and of lists in it, in one line; a value of another kind stays as it is."""
    parts = [_line(each) for each in value] if isinstance(value, list) else value
    return " ".join(map(str.strip, parts)) if isinstance(parts, list) and all(
        isinstance(each, str) for each in parts) else parts


def below(question: Any, context: Any) -> Any:
    """A question with what it is about below it."""
    context = as_text(passage(context))
    if not isinstance(question, str) or not isinstance(context, str) or not context.strip():
        return question
    return f"{question}\n\n{context}"


def joined(value: Any) -> Any:
    """The lines of a list as one text; a value of another kind stays as it is."""
    return "\n".join(value).strip() if are_texts(value) else value


def written(*keys: str) -> str:
    """The expression that finds what is under these keys of nested objects.

    >>> written("data", "all rows")
    'data."all rows"'
    """
    return ".".join(key if key.isascii() and key.isidentifier() else json.dumps(key, ensure_ascii=False)
                    for key in keys)
