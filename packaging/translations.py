"""Keeps the catalogues of `resources/translations` in step with the code. Translators need nothing else.

    python packaging/translations.py add bn     begins a language, by its code: here Bengali
    python packaging/translations.py update     puts the code's new messages into each .po file, and removes old ones
    python packaging/translations.py check      says what isn't translated, and what doesn't fit its message

Edit a `.po` file with Poedit, Lokalize, Weblate or any editor. The program compiles it at its next start; packages
bring it compiled. `docs/words.md` says how messages are written.
"""

from __future__ import annotations

import ast
import json
import string
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import untranslated
from babel.messages import Catalog, extract, pofile

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "resources" / "translations"
COUNTS = {"n", "n:,"}
"""Placeholders that a plural form may leave out: "one row" needs no figure."""
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
"""Below it, docstrings of commands and `help=` of options are messages: slmstudio/cli/words.py translates them."""
IN_PAGES = {"tr": None, "ntr": (1, 2), "ptr": ((1, "c"), 2)}
"""What marks messages in the report's page."""
TABLES: dict[str, Callable[[Any], Iterable[Any]]] = {
    "resources/advisories.json": lambda table: (what for *_, what in table),
    "resources/catalogue.json": lambda table: (
        each[key] for each in table["licences"].values() for key in ("allows", "duties") if each[key]),
    "resources/health/choices.json": lambda table: (text for each in table for text in (each["label"], each["does"])),
    "resources/health/kinds.json": lambda table: (
        text for kind in table for text in (kind["label"], tuple(kind["rows"]), *kind["choices"].values()) if text),
    "resources/importing/json_mistakes.json": lambda table: (sentence for *_, sentence in table),
    "resources/importing/scripts.json": lambda table: table,
    "resources/importing/signatures.json": lambda table: (
        text for _, *texts in table if len(texts) > 1 for text in texts),
    "resources/models/quantization_types.json": lambda table: (each["english"] for each in table),
    "resources/models/starters.json": lambda table: (
        text for each in table for text in (each["english_about"], *each["english_terms"])),
    "resources/qt_texts.json": lambda table: table.values(),
    "resources/terms.json": lambda table: (text for each in table for key, text in each.items()
                                           if key in ("name", "what", "so")),
}
"""Tables with messages, and which these are."""
SET_UP = ("bootstrap.py", "setup_*.py")
"""In this folder: what speaks before anything is installed."""


def sources() -> list[Path]:
    """The modules that have messages."""
    own = [file for pattern in SET_UP for file in sorted((ROOT / "packaging").glob(pattern))]
    return [*sorted((ROOT / "slmstudio").rglob("*.py")), *own]


def messages() -> Catalog:
    """All messages, each with the files that it is in."""
    found = Catalog(project="SLM Studio", charset="utf-8", fuzzy=False)
    for file in sources():
        name, tree = file.relative_to(ROOT).as_posix(), ast.parse(file.read_bytes())
        for message, context in _marked(tree):
            found.add(message, None, [(name, 0)], context=context)
        for text in _helps(tree) if name.startswith(COMMANDS) else ():
            found.add(text, None, [(name, 0)])
    for file in sorted((ROOT / "resources").rglob("*.html")):
        for _line, message, _comments, context in extract.extract(
                "jinja2.ext:babel_extract", BytesIO(file.read_bytes()), keywords=IN_PAGES):
            found.add(message, None, [(file.relative_to(ROOT).as_posix(), 0)], context=context)
    for file, texts in TABLES.items():
        for text in texts(json.loads((ROOT / file).read_text(encoding="utf-8"))):
            found.add(text, None, [(file, 0)])
    return found


def _marked(tree: ast.Module) -> Iterator[tuple[str | tuple[str, str], str | None]]:
    """Messages with their contexts. By the syntax tree: Babel's own extractor misses those inside of f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in untranslated.MARKS:
            texts = [each.value for each in node.args[:2] if isinstance(each, ast.Constant)]
            match node.func.id, texts:
                case ("tr" | "noop"), [str(text), *_]:
                    yield text, None
                case ("ntr" | "nnoop"), [str(one), str(many)]:
                    yield (one, many), None
                case "ptr", [str(context), str(text)]:
                    yield text, context


def _helps(tree: ast.Module) -> Iterator[str]:
    """The docstrings of commands (functions that are decorated as one, or have options), and `help=`."""
    options = {ast.unparse(node.targets[0]) for node in tree.body
               if isinstance(node, ast.Assign) and "typer.Option" in ast.unparse(node.value)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
            kinds = [ast.unparse(each.annotation) for each in node.args.args if each.annotation is not None]
            if any(isinstance(made, ast.Call) for made in node.decorator_list) or any(
                    kind in options or "typer.Option" in kind or "typer.Argument" in kind for kind in kinds):
                yield text
        elif isinstance(node, ast.keyword) and node.arg == "help" and isinstance(node.value, ast.Constant):
            yield node.value.value


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
                old = _known(known, message)
                fits = old is not None and isinstance(old.string, tuple) == isinstance(message.id, tuple)
                fresh.add(message.id, old.string if fits else None, message.locations, context=message.context)
        write(file, fresh)


def add(language: str) -> None:
    """Begin a language with an empty catalogue.

    Raises:
        ValueError, babel.UnknownLocaleError: Babel knows no such language, so there are no plural rules for it.
        FileExistsError: it was begun before.
    """
    fresh = Catalog(locale=language, charset="utf-8", fuzzy=False)
    file = FOLDER / f"{language}.po"
    file.open("x").close()
    write(file, fresh)
    update()


def missing(file: Path, found: Catalog) -> list[str]:
    """Messages that a catalogue doesn't translate."""
    known = read(file)
    return [_key(message) for message in found if message.id and not _is_whole(_known(known, message))]


def misfits(file: Path, found: Catalog) -> list[str]:
    """Translations whose placeholders or line breaks aren't those of the message, each with what is wrong."""
    known = read(file)
    return [f"{trouble}: {_key(message)}" for message in found
            if message.id and (old := _known(known, message)) is not None
            for trouble in _misfits(message.id, old.string)]


def _known(catalog: Catalog, message: Any) -> Any:
    return catalog.get(_key(message), message.context)


def _is_whole(message: Any) -> bool:
    return message is not None and bool(_strings(message.string)) and all(_strings(message.string))


def _key(message: Any) -> str:
    return message.id[0] if isinstance(message.id, tuple) else message.id


def _strings(said: Any) -> tuple[str, ...]:
    return tuple(said) if isinstance(said, (tuple, list)) else (said,) if said else ()


def _misfits(source: Any, said: Any) -> Iterator[str]:
    sources = source if isinstance(source, tuple) else (source,)
    wanted = _placeholders(sources[-1])
    for text in filter(None, _strings(said)):
        try:
            got = _placeholders(text)
        except ValueError:
            yield "broken braces"
            continue
        if got - wanted or (wanted - got) - COUNTS:
            yield f"other placeholders ({', '.join(sorted(got ^ wanted))})"
        if sources[0].count("\n\n") != text.count("\n\n") or sources[0][-1:].isspace() != text[-1:].isspace():
            yield "other space"


def _placeholders(text: str) -> set[str]:
    """As in {"rows:,"}; braces that aren't placeholders raise ValueError."""
    return {f"{name}:{form}" if form else name for _, name, form, _ in string.Formatter().parse(text)
            if name is not None}


def check(files: Sequence[Path]) -> list[str]:
    """Everything that is wrong with catalogues, and with what the code doesn't mark for them."""
    found = messages()
    wrong = list(untranslated.unmarked(ROOT))
    for file in files:
        wrong += [f"{file.name}: not translated: {text}" for text in missing(file, found)]
        wrong += [f"{file.name}: {text}" for text in misfits(file, found)]
    return wrong


def main(arguments: list[str]) -> int:
    match arguments:
        case ["update"]:
            update()
        case ["add", language]:
            add(language)
        case ["check"]:
            wrong = check(sorted(FOLDER.glob("*.po")))
            print("\n".join(wrong) or "All messages are translated.")
            return int(bool(wrong))
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
