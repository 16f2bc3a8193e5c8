"""As much of Go's text/template and of Ollama's Modelfile as our recipes use, written from their documentation.

https://pkg.go.dev/text/template: actions, pipelines of one command, variables, if, range with index, and the functions
eq, len and slice; trim markers. Messages are put together as Ollama does before it runs a template.
"""

from __future__ import annotations

import json
import re
from typing import Any

_ACTION = re.compile(r"\{\{(-(?=\s))?\s*((?:\"(?:[^\"\\]|\\.)*\"|[^\"}]|\}(?!\}))*?)\s*((?<=\s)-)?\}\}", re.S)
_WORD = re.compile(r"\"(?:[^\"\\]|\\.)*\"|\(|\)|[^\s()]+")


def ollama_prompt(template: str, messages: list[dict[str, str]]) -> str:
    """The prompt that Ollama would give to the model."""
    together: list[dict[str, str]] = []
    for message in messages:
        if together and together[-1]["role"] == message["role"]:
            together[-1] = {**together[-1], "content": f"{together[-1]['content']}\n\n{message['content']}"}
        else:
            together.append(dict(message))
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    items = [{"Role": message["role"], "Content": message["content"]} for message in together]
    return execute(template, {"Messages": items, "System": system})


def execute(template: str, data: dict[str, Any]) -> str:
    out: list[str] = []
    variables: dict[str, Any] = {"$": data}
    nodes = _parse(iter(_tokens(template)))[0]
    _run(nodes, data, variables, out)
    return "".join(out)


def _tokens(template: str) -> list[tuple[str, str]]:
    """("text", ...) and ("action", ...), with the trim markers carried out."""
    found: list[tuple[str, str]] = []
    at, trim = 0, False
    for match in _ACTION.finditer(template):
        text = template[at:match.start()]
        text = text.lstrip() if trim else text
        found += [("text", text.rstrip() if match[1] else text), ("action", match[2])]
        at, trim = match.end(), bool(match[3])
    rest = template[at:]
    assert "{{" not in rest, rest
    return [*found, ("text", rest.lstrip() if trim else rest)]


def _parse(tokens: Any, inside: bool = False) -> tuple[list[Any], str]:
    """Nodes up to `end`, `else` or the end of the text; and which of them it was."""
    nodes: list[Any] = []
    for kind, text in tokens:
        if kind == "text":
            nodes.append(("text", text))
            continue
        head = text.split(maxsplit=1)[0]
        if head == "end" or head == "else":
            assert inside, text
            return nodes, text
        if head in ("if", "range"):
            nodes.append(_branch(head, text.split(maxsplit=1)[1], tokens))
        else:
            nodes.append(("action", text))
    assert not inside, "an action is not closed"
    return nodes, ""


def _branch(kind: str, pipeline: str, tokens: Any) -> Any:
    body, closed = _parse(tokens, inside=True)
    otherwise: list[Any] = []
    if closed.startswith("else if"):
        otherwise = [_branch("if", closed.removeprefix("else if").strip(), tokens)]
    elif closed == "else":
        otherwise, closed = _parse(tokens, inside=True)
        assert closed == "end", closed
    return (kind, pipeline, body, otherwise)


def _run(nodes: list[Any], dot: Any, variables: dict[str, Any], out: list[str]) -> None:
    for node in nodes:
        if node[0] == "text":
            out.append(node[1])
        elif node[0] == "action":
            _act(node[1], dot, variables, out)
        elif node[0] == "if":
            _run(node[2] if _value(node[1], dot, variables) else node[3], dot, variables, out)
        else:
            names, _, pipeline = node[1].partition(":=")
            index, element = (name.strip() for name in names.split(","))
            for number, item in enumerate(_value(pipeline, dot, variables)):
                variables[index], variables[element] = number, item
                _run(node[2], item, variables, out)


def _act(text: str, dot: Any, variables: dict[str, Any], out: list[str]) -> None:
    assigned = re.fullmatch(r"(\$\w+)\s*(:?=)\s*(.+)", text, re.S)
    if assigned is None:
        out.append(str(_value(text, dot, variables)))
        return
    assert assigned[2] == ":=" or assigned[1] in variables, f"{assigned[1]} is not declared"
    variables[assigned[1]] = _value(assigned[3], dot, variables)


def _value(text: str, dot: Any, variables: dict[str, Any]) -> Any:
    words = _WORD.findall(text)
    value, rest = _command(words, dot, variables)
    assert not rest, text
    return value


def _command(words: list[str], dot: Any, variables: dict[str, Any]) -> tuple[Any, list[str]]:
    """One command, up to its closing bracket."""
    functions = {"eq": lambda a, b: a == b, "len": len, "slice": lambda value, start: value[start:]}
    head, words = words[0], words[1:]
    if head not in functions:
        return _operand(head, dot, variables), words
    arguments = []
    while words and words[0] != ")":
        if words[0] == "(":
            value, words = _command(words[1:], dot, variables)
            assert words[0] == ")"
            words = words[1:]
        else:
            value, words = _operand(words[0], dot, variables), words[1:]
        arguments.append(value)
    return functions[head](*arguments), words


def _operand(word: str, dot: Any, variables: dict[str, Any]) -> Any:
    if word.startswith('"'):
        return json.loads(re.sub(r"\\U0*([0-9a-f]+)", lambda match: chr(int(match[1], 16)), word))
    if word in ("true", "false"):
        return word == "true"
    if word.isdigit():
        return int(word)
    name, *fields = word.split(".")
    value = dot if name == "" else variables[name]
    for field in fields:
        value = value[field]
    return value


def read_modelfile(text: str) -> list[tuple[str, str]]:
    """Commands and their arguments, as Ollama reads a Modelfile: what can't be printed is dropped."""
    found: list[tuple[str, str]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        name, _, value = line.partition(" ")
        if name == "PARAMETER":
            name, _, value = value.partition(" ")
        while value.startswith('"""') and not (len(value) >= 6 and value.endswith('"""')):
            value += "\n" + next(lines)
        quotes = '"""' if value.startswith('"""') else '"' if value.startswith('"') else ""
        value = value.removeprefix(quotes).removesuffix(quotes)
        found.append((name, "".join(letter for letter in value if letter.isprintable() or letter == "\n")))
    return found
