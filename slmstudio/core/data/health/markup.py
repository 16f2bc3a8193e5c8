"""What belongs to a model, a template or a web page, and got into the text."""

from __future__ import annotations

import html
import re
from html.entities import html5

from slmstudio.core.data.health.kinds import PATTERNS, pattern, written
from slmstudio.core.data.health.texts import Row, prose_parts

_TAG = pattern("tag")
"""Tags that no prompt uses as its own marks, as it does <title> or <source>. b, i, u and a are names in code and in
mathematics too: they need an attribute or an end."""
_ENTITY_NAME = re.compile(written("html_entities") + ";")
_ENTITY = re.compile(r"&(?:#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|"
                     + "|".join(filter(_ENTITY_NAME.fullmatch, sorted(html5))) + ")")
_ABOUT_MARKUP = re.compile(written("about_markup"), re.IGNORECASE)
"""In a row that speaks of these, tags are meant."""
_AS_TEXT = [(pattern(name), sign) for name, sign in (
    ("script_or_style", ""), ("superscript", "^"), ("list_item", "- "), ("block_end", "\n"), ("tag", ""))]
"""What is written for tags, in this order."""
_PLACEHOLDERS = {sign: re.compile(written(name)) for sign, name in PATTERNS["placeholders"].items()}
"""By what is in every text that has one."""
_CODE_LINE = pattern("code_lines")
"""A line of a program or of LaTeX that nobody marked as code: its braces aren't placeholders."""


def token_finder(tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Finds special tokens: those of one model and the well-known ones of the GPT, ChatML, Llama, Mistral, Gemma, Phi,
    Qwen and DeepSeek families. One that is a plain word or sign is left out."""
    marks = {token for token in tokens if len(token) > 2 and not token.isalnum() and not token.isspace()}
    return re.compile("|".join((*map(re.escape, sorted(marks, key=len, reverse=True)), written("special_tokens"))))


def without_tokens(text: str, finder: re.Pattern[str]) -> str:
    """The text without them, also without those that appear when others go ("<<s>s>")."""
    while finder.search(text):
        text = finder.sub("", text)
    return text


def may_be_markup(row: Row) -> bool:
    """Whether there may be tags or entities that aren't meant: none are in a row that speaks of HTML."""
    return (("<" in row.letters or "&" in row.letters) and _has_markup(row.joined)
            and not _ABOUT_MARKUP.search(row.joined))


def _has_markup(text: str) -> bool:
    return bool(_TAG.search(text) or _ENTITY.search(text))


def without_markup(text: str) -> str:
    """The text without HTML: line breaks where paragraphs end, "- " for items of lists, ^ for superscripts. Code stays
    as it is."""
    parts = prose_parts(text)
    while any(map(_has_markup, parts[::2])):
        parts[::2] = map(_plain, parts[::2])
        text = "".join(parts).strip()
        parts = prose_parts(text)
    return text


def _plain(part: str) -> str:
    if not _has_markup(part):
        return part
    for tag, sign in _AS_TEXT:
        part = tag.sub(sign, part)
    part = _ENTITY.sub(lambda entity: html.unescape(entity[0]).replace("\xa0", " "), part)
    return re.sub(r"\n{3,}", "\n\n", part)


def has_placeholder(row: Row) -> bool:
    """Whether there is a placeholder outside code. What masks personal data here ("[EMAIL]") is none."""
    wanted = [each for sign, each in _PLACEHOLDERS.items() if sign in row.joined]
    return bool(wanted) and any(each.search(line) and not _CODE_LINE.search(line)
                                for text in row.spoken for part in prose_parts(text)[::2] for line in part.split("\n")
                                for each in wanted)
