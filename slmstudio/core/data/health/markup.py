"""What belongs to a model, a template or a web page, and got into the text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import lru_cache
from html.entities import html5
from itertools import chain

from slmstudio.core.data.health.kinds import PATTERNS, either, pattern
from slmstudio.core.data.health.texts import in_prose, prose_parts

WELL_KNOWN = either("special_tokens")
"""Tokens of the GPT, ChatML, Llama, Mistral, Gemma, Phi, Qwen and DeepSeek families."""
_TAG = pattern("tag")
"""Tags that no prompt uses as its own marks, as it does <title> or <source>. b, i, u and a are names in code and in
mathematics too: they need an attribute or an end."""
_ENTITY_NAME = re.compile(either("html_entities") + ";")
_ENTITY = re.compile(r"&(?:#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|"
                     + "|".join(filter(_ENTITY_NAME.fullmatch, sorted(html5))) + ")")
ABOUT_MARKUP = re.compile(either("about_markup"), re.IGNORECASE)
"""In a row that speaks of these, tags are meant."""
_SCRIPT, _BLOCK_END = pattern("script_or_style"), pattern("block_end")
_PLACEHOLDERS = {sign: pattern(written) for sign, written in PATTERNS["placeholders"].items()}
"""By what is in every text that has one."""
_CODE_LINE = re.compile(either("code_lines"))
"""A line of a program or of LaTeX that nobody marked as code: its braces aren't placeholders."""
LINE = 200
"""Characters before and after that are looked at in a long line."""


@lru_cache(maxsize=4)
def token_finder(special_tokens: tuple[str, ...]) -> re.Pattern[str]:
    """All special tokens: those given and the well-known ones. One that is a plain word or sign is left out."""
    marks = {token for token in special_tokens if len(token) > 2 and not token.isalnum() and not token.isspace()}
    return re.compile("|".join((*map(re.escape, sorted(marks, key=len, reverse=True)), WELL_KNOWN)))


def token_beginnings(special_tokens: Iterable[str]) -> frozenset[str]:
    """Letters, at least one of which is in every text with a special token."""
    return frozenset("<[") | {token[0] for token in special_tokens if token}


def special_token(text: str, special_tokens: tuple[str, ...]) -> str | None:
    """The first special token in the text."""
    found = token_finder(special_tokens).search(text)
    return found[0] if found else None


def without_special_tokens(text: str, special_tokens: tuple[str, ...]) -> str:
    """The text without them, also without those that appear when others go ("<<s>s>")."""
    finder = token_finder(special_tokens)
    while finder.search(text):
        text = finder.sub("", text)
    return text


def markup(text: str) -> str | None:
    """The first HTML tag or entity outside code."""
    for part in prose_parts(text)[::2]:
        found = _TAG.search(part) or _ENTITY.search(part)
        if found:
            return found[0][:80]
    return None


def has_markup(text: str) -> bool:
    """Whether there are tags or entities that aren't meant: none are in a row that speaks of HTML."""
    return bool(_TAG.search(text) or _ENTITY.search(text)) and not ABOUT_MARKUP.search(text)


def plain(text: str) -> str:
    """The text without HTML: line breaks where paragraphs end, "- " for items of lists, ^ for superscripts."""
    while markup(text):
        text = in_prose(text, _plain_part).strip()
    return text


def _plain_part(part: str) -> str:
    if not (_TAG.search(part) or _ENTITY.search(part)):
        return part
    part = _SCRIPT.sub("", part)
    part = re.sub(r"<sup\b[^>]*>(?=\w)", "^", part, flags=re.IGNORECASE)
    part = re.sub(r"<li\b[^>]*>\s*", "- ", part, flags=re.IGNORECASE)
    part = _TAG.sub(lambda tag: "\n" if _BLOCK_END.match(tag[0]) else "", part)
    part = _ENTITY.sub(lambda entity: html.unescape(entity[0]).replace("\xa0", " "), part)
    return re.sub(r"\n{3,}", "\n\n", part)


def placeholder(text: str) -> str | None:
    """The first placeholder outside code. What masks personal data here ("[EMAIL]") is none."""
    wanted = [each for sign, each in _PLACEHOLDERS.items() if sign in text]
    for part in prose_parts(text)[::2] if wanted else ():
        for found in chain.from_iterable(each.finditer(part) for each in wanted):
            if not _in_code_line(part, found.start(), found.end()):
                return found[0][:80]
    return None


def _in_code_line(part: str, start: int, end: int) -> bool:
    first = part.rfind("\n", max(0, start - LINE), start) + 1 or max(0, start - LINE)
    last = part.find("\n", end, end + LINE)
    return _CODE_LINE.search(part[first:end + LINE if last < 0 else last]) is not None


