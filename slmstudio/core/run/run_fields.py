"""What a field of a run is: its kind, its limits, its words for people, and where it applies.

Each field is described once, in `config`; the form, the terminal, the checks, the script and the report read it there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.errors import Problem
from slmstudio.core.hardware.heat_limits import EXAMPLE, Hours
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.json_files import is_quick
from slmstudio.core.model.named_templates import NAMED

EMPTY = ("", "none", "null")
ON, OFF = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Text:
    """A line of text.

    Attributes:
        optional: None is a value too.
        file: the name of a file or folder.
    """

    optional: bool = False
    file: bool = False
    wanted = noop("It must be text.")

    def read(self, value: Any) -> Any:
        """A JSON value, or what a user typed, as the field's own type. Raises ValueError or TypeError."""
        if not isinstance(value, str):
            raise ValueError
        return value

    def limit(self, value: Any) -> str:
        """What a value of the right type must be, in a sentence; "" if all is well."""
        return "" if self.optional or str(value).strip() else tr("It must be filled in.")


@dataclass(frozen=True)
class DayHours(Text):
    """From one time of the day to another, or none."""

    optional: bool = True

    def limit(self, value: Any) -> str:
        try:
            Hours.parse(value or EXAMPLE)
        except ValueError:
            return tr("It must be two clock times, such as {example}, or empty.", example=EXAMPLE)
        return ""


@dataclass(frozen=True)
class Choice:
    """One of a few words, each with its label."""

    words: Mapping[str, str]
    optional = False
    wanted = noop("It must be text.")

    def read(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError
        return value

    def limit(self, value: Any) -> str:
        if value in self.words:
            return ""
        words = ", ".join(filter(None, self.words))
        return (tr("It must be one of {words}, or empty.", words=words) if "" in self.words else
                tr("It must be one of {words}.", words=words))

    def said(self, value: str) -> str:
        return tr(self.words[value])


@dataclass(frozen=True)
class Switch:
    optional = False
    wanted = noop("It must be true or false.")

    def read(self, value: Any) -> Any:
        word = value.strip().lower() if isinstance(value, str) else None
        if isinstance(value, bool) or word in (*ON, *OFF):
            return value if isinstance(value, bool) else word in ON
        raise ValueError

    def limit(self, value: Any) -> str:
        return ""


@dataclass(frozen=True)
class Whole:
    least: int
    most: int
    optional: bool = False
    wanted = noop("It must be a whole number.")

    def read(self, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
            raise ValueError
        return int(value)

    def limit(self, value: Any) -> str:
        if value is None or self.least <= value <= self.most:
            return ""
        if self.optional:
            return tr("It must be between {least:,} and {most:,}, or empty.", least=self.least, most=self.most)
        return tr("It must be between {least:,} and {most:,}.", least=self.least, most=self.most)


@dataclass(frozen=True)
class Number:
    """A number between two limits.

    Attributes:
        above: the least value itself isn't allowed; `below`: nor the greatest.
    """

    least: float
    most: float
    above: bool = False
    below: bool = False
    optional = False
    wanted = noop("It must be a number.")

    def read(self, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError
        return float(value)

    def limit(self, value: Any) -> str:
        low = self.least < value if self.above else self.least <= value
        if low and (value < self.most if self.below else value <= self.most):
            return ""
        if self.most == math.inf:
            return tr("It must be above {least:g}.", least=self.least)
        limits = {"least": self.least, "most": self.most}
        if self.above:
            return tr("It must be above {least:g} and at most {most:,.10g}.", **limits)
        if self.below:
            return tr("It must be {least:g} or more, and below {most:,.10g}.", **limits)
        return tr("It must be between {least:g} and {most:,.10g}.", **limits)


@dataclass(frozen=True)
class Names:
    """One word, or several with commas between them."""

    optional = False
    wanted = noop("It must be text.")

    def read(self, value: Any) -> Any:
        if isinstance(value, list):
            return [str(item) for item in value]
        return [part.strip() for part in value.split(",")] if "," in value else str(value)

    def limit(self, value: Any) -> str:
        quick = not isinstance(value, str) or is_quick(value)
        return "" if quick else tr("It must be names of layers, or a regular expression with at most three parts of "
                                   "any length and no repeated group.")


@dataclass(frozen=True)
class Lines:
    """Several texts, one per line; commas are part of them."""

    optional = False
    wanted = noop("It must be text.")

    def read(self, value: Any) -> Any:
        if isinstance(value, list):
            return [str(item) for item in value]
        return [line.strip() for line in value.splitlines() if line.strip()]

    def limit(self, value: Any) -> str:
        return ""


Kind = Text | DayHours | Choice | Switch | Whole | Number | Names | Lines


@dataclass(frozen=True)
class Field:
    """
    Attributes:
        group: the heading that it is listed under, in English.
        name: what people call it, in English; `about` and `why`: its help and its reason, also in English.
        simple: shown to those who don't want to see every field.
        applies: whether it means anything in a configuration.
        told: its difference says something about what was learned.
        aliases: what other trainers call it.
    """

    kind: Kind
    group: str
    name: str
    about: str
    why: str = ""
    simple: bool = False
    applies: Callable[[Any], bool] = lambda config: True
    told: bool = True
    aliases: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What people call it, with its unit."""
        return tr(self.name)

    @property
    def help(self) -> str:
        """What it does, in a sentence: the tooltip and the terminal's help."""
        return tr(self.about)

    @property
    def reason(self) -> str:
        """Why its default suits everybody; "" if a plan decides it by data, model and machine."""
        return tr(self.why) if self.why else ""

    def read(self, value: Any) -> Any:
        """Make `value` (a JSON value, or text that a user typed) fit.

        Raises:
            ValueError: with a sentence, when it doesn't fit.
        """
        kind = self.kind
        if value is None or (isinstance(value, str) and value.strip().lower() in EMPTY):
            if kind.optional:
                return None
            if isinstance(kind, Lines):
                return []
            if not isinstance(value, str) or not isinstance(kind, Text | Choice):
                raise ValueError(tr("It can't be empty."))
        try:
            return kind.read(value)
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(not_allowed(value, tr(kind.wanted))) from error


def not_allowed(value: Any, limit: str) -> str:
    return " ".join((tr("{value!r} isn't allowed.", value=value), limit))


def described(default: Any, kind: Kind, group: str, label: str, help_text: str, *, reason: str = "",
              **more: Any) -> Any:
    """A dataclass's field with its description, whose texts are messages that `noop` marks.

    Args:
        default: its value if nobody decides it; `...` for a field that must be given.
    """
    about = {"field": Field(kind, group, label, help_text, reason, **more)}
    if default is ...:
        return field(metadata=about)
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=about)
    return field(default=default, metadata=about)


def fields_of(config: type) -> dict[str, Field]:
    return {each.name: each.metadata["field"] for each in dataclasses.fields(config) if each.metadata}


def write(value: Any) -> str:
    """A value as it is typed.

    >>> write(2e-4), write(3.0), write(0.05), write(None), write(["q_proj", "v_proj"])
    ('2e-4', '3', '0.05', '', 'q_proj, v_proj')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        if value and abs(value) < 1e-3:
            mantissa, _, exponent = f"{value:.6e}".partition("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, list) else str(value)


# -- The words that the choices of a run are kept as, each with what people read.

PREFERENCES = ("dpo", "orpo", "kto")
"""Objectives that learn which of several answers is better."""
SHORTEST = 128
"""No sequence length below this is proposed: too little of a row would be left."""
QUESTIONS = 15
"""Held-out rows at most that are answered before and after a run, without being asked for."""
CUDA_OPTIMIZERS = ("paged_adamw_8bit", "paged_adamw_32bit")
"""Their pages move between GPU and main memory, so they need both."""
SHARED_OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "sgd")
"""Those whose state has the shape of the weights, so that cards can share it."""
OBJECTIVES = Choice({"sft": noop("Answers (SFT)"), "text": noop("Plain text"), "dpo": noop("Preferences (DPO)"),
                     "orpo": noop("Preferences (ORPO)"), "kto": noop("Good and bad (KTO)")})
METHODS = Choice({"lora": "LoRA", "qlora": noop("QLoRA (4-bit)"), "full": noop("Full fine-tuning"),
                   "scratch": noop("From scratch")})
CUT, LEAVE_OUT = "cut", "leave_out"
OVERLONG = Choice({CUT: noop("cut at the end"), LEAVE_OUT: noop("left out")})
PRECISIONS = Choice({"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"})
OPTIMIZERS = Choice({name: name for name in (
    "adamw_torch", "adamw_torch_fused", "adamw_8bit", *CUDA_OPTIMIZERS, "adafactor", "sgd")})
TEMPLATES = Choice({"": noop("The model's own"), **{name: about.label for name, about in NAMED.items()}})
GUARDS = Choice({"pause": noop("Pause when too hot"), "hold": noop("Hold a temperature"), "off": noop("Only warn")})
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora"},
    "qlora": {"method": "qlora"},
    "dora": {"method": "lora", "use_dora": True},
    "rslora": {"method": "lora", "use_rslora": True},
    "full": {"method": "full"},
    "scratch": {"method": "scratch"},
}
"""The methods that a user chooses from, and what each is in our fields."""
METHOD_WORDS: dict[str, dict[str, Any]] = {
    "dora": VARIANTS["dora"],
    "rslora": VARIANTS["rslora"],
    "qdora": {"method": "qlora", "use_dora": True},
    "pretrain": {"method": "full", "objective": "text"},
    "continued_pretraining": {"method": "full", "objective": "text"},
    **{name: {"objective": name} for name in PREFERENCES},
}
"""What people call a method, accepted by `--set method=...`."""
PARALLELISM_WORDS = {"faster": "ddp", "bigger": "fsdp"}
"""What people say for it, accepted by `--set parallelism=...`."""


# -- Which values of a run exclude each other.


def contradictions(config: Any) -> list[Problem]:
    """Values that are well by themselves and don't go together."""
    shared = config.world_size > 1 and config.parallelism == "fsdp"
    rules = (
        (not config.has_adapter and config.use_dora, "use_dora",
         tr("DoRA is a kind of adapter; set method to lora or qlora, or switch it off.")),
        (not config.has_adapter and config.use_rslora, "use_rslora",
         tr("Rank-stabilised LoRA is a kind of adapter; set method to lora or qlora, or switch it off.")),
        (config.method == "scratch" and config.start_from is not None, "start_from",
         tr("A model from scratch starts from nothing; leave this empty.")),
        (config.method == "scratch" and config.objective in PREFERENCES, "objective",
         tr("A model from scratch has nothing to prefer yet; the objective must be text or sft.")),
        (config.device == "cpu" and config.optimizer in CUDA_OPTIMIZERS, "optimizer",
         tr("{optimizer} needs an NVIDIA GPU; on the processor, choose adamw_torch or adamw_8bit.",
            optimizer=config.optimizer)),
        (config.device == "cpu" and config.attention == "flash_attention_2", "attention",
         tr("flash_attention_2 needs an NVIDIA GPU; on the processor, choose sdpa or eager.")),
        (config.device == "cpu" and config.use_liger_kernel, "use_liger_kernel",
         tr("Liger's kernels need an NVIDIA GPU; switch it off.")),
        (config.device == "cpu" and config.activation_offload, "activation_offload",
         tr("On the processor, activations are in main memory anyway; switch it off.")),
        (config.device == "cpu" and config.precision == "fp16", "precision",
         tr("fp16 needs an NVIDIA GPU; on the processor, choose bf16 or fp32.")),
        (shared and config.method == "qlora", "parallelism",
         tr("A base in 4 bits can't be shared among cards: each would hold all of it. Choose lora, or ddp.")),
        (shared and config.objective in PREFERENCES, "parallelism",
         tr("Cards can share a model that learns text or chats; for preferences, choose ddp.")),
        (shared and config.optimizer not in SHARED_OPTIMIZERS, "optimizer",
         tr("{optimizer} can't be shared among cards; choose adamw_torch, or ddp.", optimizer=config.optimizer)),
        (config.packing and config.attention == "eager", "attention",
         tr("Eager attention can't keep packed rows apart; choose sdpa or flash_attention_2, or switch packing off.")),
        (config.packing and config.objective in PREFERENCES, "packing",
         tr("Pairs of answers are compared side by side and can't be packed; switch it off.")),
    )
    return [Problem(sentence, field=name) for broken, name, sentence in rules if broken]
