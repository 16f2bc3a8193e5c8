"""What a GGUF must say about a vocabulary so that llama.cpp cuts text and ends turns as in training.

A GGUF names its pre-tokenizer, which cuts text before byte-pair merges (`tokenizer.ggml.pre`); a Hugging Face folder
spells it out. The import writes the spelling; the export looks for the name that cuts alike where the converter doesn't
know the vocabulary. The expressions are those of llama.cpp's src/llama-vocab.cpp, which quotes the models' own
tokenizer.json.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.export.proof import MOST_DIFFERENT
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.named_templates import template_of
from slmstudio.core.model.tokens import local_tokenizer

MOST_ADDED = 64
PROBES: tuple[str, ...] = tuple(json.loads((paths.resources() / "parity" / "probes.json").read_text(encoding="utf-8")))
"""Digits in rows, spaces in rows, several scripts, combining marks and emoji: where pre-tokenizers differ."""


def differing(texts: Sequence[str], one: Callable[[str], list[int]], other: Callable[[str], list[int]]) -> list[str]:
    """The texts that `one` and `other` turn into different token ids."""
    return [text for text in texts if one(text) != other(text)]


@functools.cache
def strings() -> tuple[str, ...]:
    """The fixed texts of resources/parity/strings.jsonl: more than a thousand, of many scripts, all different."""
    with open(paths.resources() / "parity" / "strings.jsonl", encoding="utf-8") as file:
        return tuple(json.loads(line) for line in file)


def around(tokens: Sequence[str]) -> list[str]:
    """Texts with tokens that were added to a vocabulary: alone, inside words, beside spaces, and one behind another."""
    step = max(1, -(-len(tokens) // MOST_ADDED))
    found = []
    for number, token in enumerate(tokens[::step]):
        following = tokens[(number * step + 1) % len(tokens)]
        found += [token, f"a{token}b", f"one {token} two", f"\n{token}\n", f"नमस्ते{token}दुनिया",
                  f"{token}{following}", f"{token} {following}.", f"{token[:-1]} {token.upper()}"]
    return found


_LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
           r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_QWEN35 = _QWEN2.replace(r"\p{L}+", r"[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]+", r"[^\s\p{L}\p{M}\p{N}]+")
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def _cased(letter: str, behind: str, digits: str) -> str:
    """Words that are cut where small letters are followed by capitals.

    Args:
        letter: what counts as a letter of a word; `behind`: what may follow a word.
    """
    start, small, large = r"[^\r\n\p{L}\p{N}]?", f"((?=[{letter}])([^A-Z]))", f"((?=[{letter}])([^a-z]))"
    return (f"{start}{large}*{small}+{behind}|{start}{large}+{small}*{behind}|{digits}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


_CONTRACTION = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"


def _split(*patterns: str) -> dict[str, Any]:
    steps = [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
             for pattern in patterns]
    return {"type": "Sequence", "pretokenizers": [*steps, _byte_level(use_regex=False)]}


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


_SINGLE_DIGITS = {"type": "Sequence", "pretokenizers": [
    {"type": "Digits", "individual_digits": True}, _byte_level(use_regex=True)]}

PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "llama-bpe": _split(_LLAMA3),
    "qwen2": _split(_QWEN2),
    "smollm": _SINGLE_DIGITS,
    "gpt-2": _byte_level(use_regex=True),
    "granite-embed-multi-97m": _split(_cased(r"\p{L}\p{M}", _CONTRACTION, r"\p{N}{1,3}")),
    "gpt-4o": _split(_cased(r"\p{L}", _CONTRACTION, r"\p{N}{1,3}")),
    "tekken": _split(_cased(r"\p{L}", "", r"\p{N}")),
    "qwen35": _split(_QWEN35),
    "default": _split(r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    "llama3": _split(_LLAMA3), "llama-v3": _split(_LLAMA3), "smaug-bpe": _split(_LLAMA3), "dbrx": _split(_LLAMA3),
    "stablelm2": _split(_QWEN2), "deepseek-r1-qwen": _split(_QWEN2),
    "starcoder": _SINGLE_DIGITS, "refact": _SINGLE_DIGITS, "command-r": _SINGLE_DIGITS, "codeshell": _SINGLE_DIGITS,
    "mpt": _byte_level(use_regex=True), "olmo": _byte_level(use_regex=True), "phi-2": _byte_level(use_regex=True),
}
"""llama.cpp's name: `pre_tokenizer` of tokenizer.json. The first of equal spellings is the one an export writes."""

IGNORE_MERGES = {"llama-bpe", "llama3", "llama-v3", "tekken", "granite-embed-multi-97m"}
"""Vocabularies in which a whole word that is a token is taken as it is, whatever the merges say."""

NEAREST = ("granite-embed-multi-97m",)
"""Those that may stand in where none cuts alike: Phi-4 mini's tokenizer and its relatives, whose capitals with accents
llama.cpp takes for small letters too. Its "gpt-4o" is worse: it cuts every word in an Indian script at its vowel
signs."""


def name_of(pre_tokenizer: dict[str, Any] | None, ignore_merges: bool = False) -> str | None:
    """llama.cpp's name for a `pre_tokenizer` of tokenizer.json; None if none of the table's cuts as it does.

    Spellings differ, so what counts is the cut: the first candidate that cuts every text of `probes.strings()` at the
    same places. An equal spelling needs no trial.

    Args:
        ignore_merges: of the model, in tokenizer.json: candidates that treat whole words alike come first.
    """
    candidates = sorted(PRE_TOKENIZERS, key=lambda name: (name in IGNORE_MERGES) != ignore_merges)
    for name in candidates:
        if PRE_TOKENIZERS[name] == pre_tokenizer:
            return name
    return next((name for name in candidates if cuts_alike(name, pre_tokenizer)), None)


def nearest_to(pre_tokenizer: dict[str, Any] | None, model: dict[str, Any]) -> str | None:
    """The one of `NEAREST` that cuts all but a few texts alike and takes whole words as the model does; None if none
    does.

    Args:
        model: of tokenizer.json.
    """
    texts = strings()
    for name in NEAREST if pre_tokenizer else ():
        wanted, found = _cut(pre_tokenizer or {}), _cut(PRE_TOKENIZERS[name])
        if (sum(wanted(text) != found(text) for text in texts) <= MOST_DIFFERENT * len(texts)
                and (bool(model.get("ignore_merges")) == (name in IGNORE_MERGES) or _merges_make_words(model))):
            return name
    return None


def _merges_make_words(model: dict[str, Any]) -> bool:
    """Whether the merges lead to all but a few words of the vocabulary, so that ignoring them changes nothing."""
    from tokenizers import Tokenizer

    state = {**json.loads(Tokenizer.from_str('{"model": {"type": "BPE", "vocab": {}, "merges": []}}').to_str()),
             "model": {**model, "ignore_merges": False}}
    by_merges, words = Tokenizer.from_str(json.dumps(state)).model, model["vocab"]
    return sum(len(by_merges.tokenize(word)) != 1 for word in words) <= MOST_DIFFERENT * len(words)


def cuts_alike(name: str, pre_tokenizer: dict[str, Any] | None) -> bool:
    """Whether llama.cpp's pre-tokenizer of that name cuts all texts of `probes.strings()` at the same places."""
    if pre_tokenizer is None:
        return False
    wanted, found = _cut(pre_tokenizer), _cut(PRE_TOKENIZERS[name])
    return all(wanted(text) == found(text) for text in strings())


def _cut(pre_tokenizer: dict[str, Any]) -> Callable[[str], list[str]]:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    state = {**json.loads(Tokenizer(BPE()).to_str()), "pre_tokenizer": pre_tokenizer}
    cutter = Tokenizer.from_str(json.dumps(state)).pre_tokenizer
    return lambda text: [piece for piece, _ in cutter.pre_tokenize_str(text)]


NORMALIZER_KEY = "slmstudio.tokenizer.normalizer"
PREPEND_KEY = "slmstudio.tokenizer.prepend_scheme"
"""Our own keys in a GGUF: llama.cpp has none for them. The export writes the Unicode form into which the tokenizer
brings text, and where its pre-tokenizer puts a space in front ("first", as tokenizer.json has it)."""
_MARK = "zxqanswerqxz"
_NORMAL, UNKNOWN, CONTROL, USER_DEFINED, _UNUSED = 1, 2, 3, 4, 5
_MARKER = re.compile(r"[▁_]?(<[^<>]+>|\[[^\[\]]+\])")
"""Words that look like llama.cpp's own names for special tokens."""
BESIDE_MARKER = "Ġ"
"""Behind an ordinary token that looks like one: a space, in the alphabet of byte-level vocabularies."""
PHI3 = re.compile(r"phi-?3", re.IGNORECASE)


@dataclass(frozen=True)
class Vocabulary:
    """A model folder's tokenizer and chat template.

    Attributes:
        state: tokenizer.json.
        template: None if the model has none.
        has_sentencepiece: whether tokenizer.model is beside it, from which the converter takes scores and types.
    """

    state: dict[str, Any]
    template: ChatTemplate | None
    has_sentencepiece: bool

    @classmethod
    def of(cls, folder: Path, adapter: Path | None = None) -> Vocabulary:
        """The vocabulary of a base model, with the chat template of its adapter if that brings one."""
        try:
            template = template_of(folder, result=adapter)
        except UserError:
            template = None
        state = json.loads(local_tokenizer(folder).to_str())
        return cls(state, template, (folder / "tokenizer.model").is_file())

    @property
    def special(self) -> dict[str, int]:
        """Text of every special token: its id."""
        return {token["content"]: token["id"] for token in self.state["added_tokens"] if token["special"]}

    @property
    def added(self) -> list[str]:
        """Tokens that are found in a text before it is cut, first those that aren't special."""
        tokens = sorted(self.state["added_tokens"], key=lambda token: (token["special"], token["id"]))
        return [token["content"] for token in tokens]

    def lead(self) -> str:
        """What llama.cpp's rendering must begin with, because this tokenizer puts it in front of a text by itself.

        A space, where the tokenizer has one at the very start of a text and the template begins with words. llama.cpp
        puts its own behind every special token too, or nowhere. Behind a special token neither puts one.
        """
        text = self._rendered()
        if text is None or self._metaspace() != "first" or text.startswith((" ", *self.special)):
            return ""
        return " "

    def boundary(self) -> str:
        """What may be in front of a text so that it is tokenized as in the middle of a conversation."""
        return self.end_of_turn() or ""

    def normalizer(self) -> str | None:
        """The Unicode form into which the tokenizer brings text, as Qwen's does; None for none."""
        forms = ("NFC", "NFKC", "NFD", "NFKD")
        return next((kind["type"] for kind in self._normalizers() if kind.get("type") in forms), None)

    def end_of_turn(self) -> str | None:
        """The special token that the template puts behind an assistant's words; None if it puts none."""
        if (text := self._rendered()) is None:
            return None
        tail = text.partition(_MARK)[2]
        found = [(tail.find(token), -len(token), token) for token in self.special if token in tail]
        return min(found)[2] if found else None

    def model_name(self, name: str) -> str:
        """`name`, changed where llama.cpp would draw a wrong conclusion from it.

        llama.cpp strips white space behind special tokens if and only if the name contains "phi-3" or "phi3".
        """
        strips = any(token["rstrip"] for token in self.state["added_tokens"] if token["special"])
        if strips:
            return name if PHI3.search(name) else f"{name} (Phi-3)"
        return PHI3.sub("Phi 3", name)

    def corrections(self, values: dict[str, Any], gguf: Any, rows: int) -> dict[str, Any]:
        """Key-value pairs to write instead of, or beside, those that the converter chose.

        Args:
            values: the converter's.
            rows: of the embeddings; a model may have more of them than tokens.
        """
        kinds = gguf.GGUFValueType
        changed: dict[str, Any] = {}

        def put(key: str, value: Any, kind: Any) -> None:
            changed[key] = gguf.GGUFValue(value=value, type=kind)

        if self.template is not None:
            put("tokenizer.chat_template", self._template_lead() + self.template.source, kinds.STRING)
            if (end := self.end_of_turn()) is not None:
                put("tokenizer.ggml.eot_token_id", self.special[end], kinds.UINT32)
                if "eos_token" not in self.template.source:  # else the template would render another text
                    put("tokenizer.ggml.eos_token_id", self.special[end], kinds.UINT32)
            if not self._starts_with_bos():
                put("tokenizer.ggml.add_bos_token", False, kinds.BOOL)
        if (form := self.normalizer()) is not None:
            put(NORMALIZER_KEY, form, kinds.STRING)
        if values["tokenizer.ggml.model"].value == "gpt2":
            put("tokenizer.ggml.tokens", self._without_false_markers(values), kinds.ARRAY)
        if values["tokenizer.ggml.model"].value == "llama":
            put("tokenizer.ggml.add_space_prefix", self._space_prefix(), kinds.BOOL)
            if (scheme := self._metaspace()) is not None:
                put(PREPEND_KEY, scheme, kinds.STRING)
            if not self.has_sentencepiece:
                tokens = list(values["tokenizer.ggml.tokens"].value)
                types = list(values["tokenizer.ggml.token_type"].value)
                for token in self.state["added_tokens"]:  # found in a text before it is cut, as Gemma's "</div>"
                    types[token["id"]] = CONTROL if token["content"] in self.special else USER_DEFINED
                types += [_UNUSED] * (rows - len(tokens))
                tokens += [f"[PAD{number}]" for number in range(len(tokens), rows)]
                put("tokenizer.ggml.tokens", tokens, kinds.ARRAY)
                put("tokenizer.ggml.scores", self._scores(tokens), kinds.ARRAY)
                put("tokenizer.ggml.token_type", [int(kind) for kind in types], kinds.ARRAY)
        return changed

    def _rendered(self) -> str | None:
        if self.template is None:
            return None
        return self.template.render([{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK}])

    def _starts_with_bos(self) -> bool:
        """Whether the template writes BOS itself. If not, training saw none, and llama.cpp must add none."""
        bos = self.template.special_tokens.get("bos_token") if self.template else None
        return bool(bos) and (self._rendered() or "").startswith(bos or "")

    def _space_prefix(self) -> bool:
        """Whether text gets a space in front, as llama.cpp can do it: at the start and behind every special token."""
        if any(normalizer.get("type") == "Prepend" for normalizer in self._normalizers()):
            return True
        # "first" is a space at the very start only: without a template, a text has no special token to speak of.
        return self._metaspace() == "always" or (self._metaspace() == "first" and self.template is None)

    def _metaspace(self) -> str | None:
        """Where the tokenizer itself puts a space in front: "always", "first" or "never"; None for no such step."""
        steps = [self.state["pre_tokenizer"] or {}]
        steps += steps[0].get("pretokenizers", [])
        return next((str(step.get("prepend_scheme")) for step in steps if step.get("type") == "Metaspace"), None)

    def _template_lead(self) -> str:
        return "{{ '" + self.lead() + "' }}" if self.lead() else ""

    def _without_false_markers(self, values: dict[str, Any]) -> list[Any]:
        """The tokens, with a space behind those that llama.cpp would take for special ones by their looks.

        Qwen's vocabulary has an ordinary token "</s>" that its pre-tokenizer never lets appear. llama.cpp overrides
        its type, cuts texts at it and would end answers there.
        """
        tokens, types = list(values["tokenizer.ggml.tokens"].value), values["tokenizer.ggml.token_type"].value
        suspects = [(token_id, text) for token_id, text in enumerate(tokens) if int(types[token_id]) == _NORMAL
                    and isinstance(text, str) and _MARKER.fullmatch(text)]
        if suspects:
            from tokenizers import Tokenizer, decoders

            known, tokenizer, written = set(tokens), Tokenizer.from_str(json.dumps(self.state)), decoders.ByteLevel()
            for token_id, text in suspects:
                other = text + BESIDE_MARKER
                if other not in known and tokenizer.encode(written.decode([text]), add_special_tokens=False).ids != [
                        token_id]:
                    tokens[token_id] = other
        return tokens

    def _normalizers(self) -> list[dict[str, Any]]:
        outer: dict[str, Any] = self.state["normalizer"] or {}
        return [outer, *outer.get("normalizers", [])]

    def _scores(self, tokens: list[Any]) -> list[float]:
        """Scores that make llama.cpp merge in the order of tokenizer.json's merges; the converter writes -1000 for all.

        llama.cpp joins the neighbours whose union scores highest; byte-pair encoding those of the earliest merge.
        """
        ranks: dict[str, int] = {}
        for rank, merge in enumerate(self.state["model"]["merges"]):
            pair = merge.split(" ") if isinstance(merge, str) else merge
            ranks.setdefault("".join(pair), rank)
        lowest = -float(len(ranks) + 1_000)
        texts = (token.decode("utf-8", "replace") if isinstance(token, bytes) else token for token in tokens)
        return [-float(ranks[text]) if text in ranks else lowest for text in texts]
