"""Conversations that a chat template has written out as one text, as many sets for tutorials hold them."""

from __future__ import annotations

import re
from typing import Any

_HEADERS = re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\s*(.*?)\s*(?:<\|eot_id\|>|<\|end_of_text\|>|$)",
                      re.DOTALL)
_TURNS = re.compile(r"<start_of_turn>(user|model)\n(.*?)\s*<end_of_turn>", re.DOTALL)
_BARS = re.compile(r"<\|(system|user|assistant)\|>\s*(.*?)\s*(?:<\|end\|>|</s>|<\|endoftext\|>|"
                   r"(?=<\|(?:user|assistant)\|>)|$)", re.DOTALL)
_CHATML = re.compile(r"<\|im_start\|>(system|user|assistant|tool)\n(.*?)<\|im_end\|>\s*", re.DOTALL)
_INST = re.compile(r"\s*(?:<s>)?\s*\[INST\]\s*(.*?)\s*\[/INST\]\s*", re.DOTALL)
_SYS = re.compile(r"<<SYS>>\s*(.*?)\s*<</SYS>>\s*", re.DOTALL)
_ALPACA = re.compile(r"(?:Below is an instruction.*?)?### Instruction:\s*(.*?)\s*(?:### Input:\s*(.*?)\s*)?"
                     r"### Response:\s*(.*?)\s*", re.DOTALL)
_BAIZE = re.compile(r"\[\|(Human|AI)\|\]")
_MOSS = re.compile(r"(?:<eo[a-z]>\s*)?\[(Human|MOSS)\]:")
_ENDS = re.compile(r"\s*(?:</s>|<\|endoftext\|>|<\|end_of_text\|>|<eo[a-z]>)\s*$")
_BEGINS = re.compile(r"\s*(?:<s>|<bos>|<\|begin_of_text\|>|<\|endoftext\|>)\s*")
_NAMES = {"model": "assistant", "Human": "user", "AI": "assistant", "MOSS": "assistant", "ipython": "tool"}


def messages(text: str) -> list[dict[str, Any]]:
    """The messages of a text in the form of Llama 2 and 3, Mistral, Gemma, Phi 3, Zephyr, ChatML, Alpaca, Baize or
    MOSS; empty for any other text, and for one of which a part is outside of all messages.

    >>> messages("<s>[INST] Hi [/INST] Hello </s>")
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    begin = _BEGINS.match(text)
    plain = text[begin.end():] if begin else text
    head = plain[:400].lstrip()
    if head.startswith("[INST]"):
        return _instructed(plain)
    for mark, pattern in (("<|start_header_id|>", _HEADERS), ("<start_of_turn>", _TURNS), ("<|im_start|>", _CHATML),
                          ("<|user|>", _BARS), ("<|system|>", _BARS)):
        if head.startswith(mark):
            rest = pattern.sub("", _ENDS.sub("", plain)).strip()
            return [] if rest else [_message(role, content) for role, content in pattern.findall(_ENDS.sub("", plain))
                                    if content]
    if "### Instruction:" in head and (found := _ALPACA.fullmatch(_ENDS.sub("", plain))):
        asked = f"{found[1]}\n\n{found[2]}" if found[2] else found[1]
        return [_message("user", asked), _message("assistant", found[3])]
    if (marks := _BAIZE if "[|Human|]" in head else _MOSS if "[Human]:" in head and "<eoh>" in plain else None):
        before, *parts = marks.split(_ENDS.sub("", plain))
        found_ = [_message(role, content.strip()) for role, content in zip(parts[::2], parts[1::2], strict=True)
                  if content.strip()]
        return [*([_message("system", before.strip())] if before.strip() else []), *found_]
    return []


def _instructed(text: str) -> list[dict[str, Any]]:
    before, *parts = _INST.split(text)
    if before.strip() or len(parts) < 2:
        return []
    found = []
    for asked, answer in zip(parts[::2], parts[1::2], strict=True):
        if system := _SYS.match(asked):
            found.append(_message("system", system[1]))
            asked = asked[system.end():]
        found += [_message("user", asked), _message("assistant", _ENDS.sub("", answer).strip())]
    return found


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": _NAMES.get(role, role), "content": content}
