"""Keeps the catalogues of `resources/translations` in step with the code.

    python packaging/translations.py update     finds the messages in the code, and puts new ones into each .po file
    python packaging/translations.py compile    writes the .mo files, for packages
    python packaging/translations.py check      says what is missing, out of date or doesn't fit
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages import Catalog, extract, pofile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from slmstudio.core.i18n import catalogue  # noqa: E402

FOLDER = ROOT / "resources" / "translations"
KEYWORDS = {"tr": None, "noop": None, "ntr": (1, 2), "ptr": ((1, "c"), 2)}
HEADER = """\
# What the program says. See docs/words.md for how.
msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plurals}\\n"

"""
COMMANDS = "slmstudio/cli"
"""Docstrings of the commands below it are their help, and so messages."""


def messages() -> Catalog:
    """All messages in the code, each with the files that it is in."""
    found = Catalog(project="SLM Studio", charset="utf-8", fuzzy=False)
    for file in sorted((ROOT / "slmstudio").rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        source = file.read_bytes()
        for _line, message, comments, context in extract.extract(
                "python", BytesIO(source), keywords=KEYWORDS, comment_tags=("Translators:",), strip_comment_tags=True):
            found.add(message, None, [(name, 0)], auto_comments=comments, context=context)
        if name.startswith(COMMANDS):
            for text in _helps(source.decode()):
                found.add(text, None, [(name, 0)])
    return found


def _helps(source: str) -> Iterator[str]:
    """The docstrings of functions that a decorator makes a command."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and any("command" in ast.dump(made) for made in node.decorator_list):
            if text := ast.get_docstring(node):
                yield text


def read(file: Path) -> Catalog:
    with file.open("rb") as stream:
        return pofile.read_po(stream, locale=file.stem, abort_invalid=True)


def write(file: Path, content: Catalog) -> None:
    """Without line numbers and dates, so that a change of the code changes only the messages that it concerns."""
    stream = BytesIO()
    pofile.write_po(stream, content, width=100, omit_header=True, sort_output=True, include_lineno=False)
    file.write_bytes(HEADER.format(language=file.stem, plurals=content.plural_forms).encode() + stream.getvalue())


def update() -> None:
    """Add the code's messages to each catalogue, and remove those that it no longer has."""
    found = messages()
    for file in sorted(FOLDER.glob("*.po")):
        known = read(file)
        fresh = Catalog(locale=file.stem, charset="utf-8", fuzzy=False)
        for message in found:
            if message.id:
                old = known.get(_key(message), message.context)
                fits = old is not None and isinstance(old.string, tuple) == isinstance(message.id, tuple)
                fresh.add(message.id, old.string if fits else None, message.locations,
                          auto_comments=message.auto_comments, context=message.context)
        write(file, fresh)


def unmarked() -> list[str]:
    """Calls that give gettext something that it can't find in the code: an f-string, or joined parts; and messages in
    an f-string, where it doesn't look."""
    wrong = []
    for file in sorted((ROOT / "slmstudio").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.JoinedStr):
                wrong += [f"{file.relative_to(ROOT).as_posix()}:{node.lineno}: a message in an f-string"
                          for inner in ast.walk(node) if isinstance(inner, ast.Call)
                          and isinstance(inner.func, ast.Name) and inner.func.id in KEYWORDS
                          and any(isinstance(text, ast.Constant) for text in inner.args)]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS:
                texts = node.args[:1] if node.func.id in ("tr", "noop") else node.args[:2]
                if any(isinstance(text, (ast.JoinedStr, ast.BinOp)) for text in texts):
                    wrong.append(f"{file.relative_to(ROOT).as_posix()}:{node.lineno}: not a literal message")
    return wrong


def problems(file: Path) -> list[str]:
    """What is wrong with a catalogue: messages that are missing, and translations that don't fit theirs."""
    known, wrong = read(file), []
    for message in messages():
        if not message.id:
            continue
        old = known.get(_key(message), message.context)
        if old is None or not _strings(old.string) or not all(_strings(old.string)):
            wrong.append(f"missing: {_key(message)}")
        else:
            wrong += [f"{trouble}: {_key(message)}" for trouble in _misfits(message.id, old.string)]
    return wrong


def _key(message: Any) -> str:
    return message.id[0] if isinstance(message.id, tuple) else message.id


def _strings(said: Any) -> tuple[str, ...]:
    return tuple(said) if isinstance(said, (tuple, list)) else (said,) if said else ()


def _misfits(source: Any, said: Any) -> Iterator[str]:
    import string

    def names(text: str) -> set[str]:
        return {f"{name}:{spec}!{how}" for _, name, spec, how in string.Formatter().parse(text) if name is not None}

    sources = source if isinstance(source, tuple) else (source,)
    wanted = names(sources[-1])
    for text in _strings(said):
        try:
            got = names(text)
        except ValueError:
            yield "broken braces"
            continue
        if got - wanted or (wanted - got) - {"n:,!None", "n:!None"}:
            yield f"other placeholders ({', '.join(sorted(got ^ wanted))})"
        if sources[0].count("\n\n") != text.count("\n\n") or sources[0][-1:].isspace() != text[-1:].isspace():
            yield "other space"


def main(arguments: list[str]) -> int:
    if arguments == ["update"]:
        update()
    elif arguments == ["compile"]:
        for file in sorted(FOLDER.glob("*.po")):
            file.with_suffix(".mo").write_bytes(catalogue.compile_catalogue(file))
    elif arguments == ["check"]:
        wrong = [f"{file.name}: {problem}" for file in sorted(FOLDER.glob("*.po")) for problem in problems(file)]
        wrong += unmarked()
        print("\n".join(wrong) or "All messages are translated.")
        return int(bool(wrong))
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
