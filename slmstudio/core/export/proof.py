"""What a proof says: one line a check, each with its figure, its limit, and what to do when it fails.

It is computed from the figures, which NAME.parity.json holds, so that it is in the language of who reads it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import formats
from slmstudio.core.export.types import QUANT_TYPES, QuantType
from slmstudio.core.i18n import noop, ntr, ptr, tr

LABELS = {
    "tokens": noop("Token ids equal"),
    "prompt": noop("Prompt text equal"),
    "bos": noop("Beginning of sequence"),
    "stop": noop("Stops at the end of a turn"),
    "settings": noop("Settings of the architecture"),
    "embeddings": noop("Embeddings of all tokens"),
    "layers": noop("Weights of the layers"),
    "adapter": noop("What was learned"),
    "nmse": noop("Error of the logits (NMSE)"),
    "top1": noop("Same first choice (top-1)"),
    "kl": noop("KL divergence"),
    "perplexity": noop("Change of perplexity"),
    "device": noop("Same answers on the graphics card"),
}
"""Name of a check in NAME.parity.json: what a user reads. Whoever shows it translates it."""
HEADINGS = (noop("What was compared"), noop("Found"), noop("Required"), noop("Result"))
"""Headings of a table of checks. Whoever shows them translates them."""
NO_LIMIT = "shown only"
"""The limit of a figure that passes whatever it is, as NAME.parity.json has it."""
_REQUIRED = {
    NO_LIMIT: noop("no limit: smaller files differ"), "all": noop("must be equal in all of them"),
    "ends": noop("must end the answer"), "under +1%": noop("must rise by less than 1%"),
    "under +2%": noop("must rise by less than 2%"),
}


def required(check: Mapping[str, Any]) -> str:
    """What a check has to find, as a sentence without its subject; "" if nothing was required.

    >>> required({"limit": "under 0.0001"}), required({"limit": "all"}), required({"limit": ""})
    ('must be under 0.0001', 'must be equal in all', '')
    """
    limit = str(check.get("limit") or "")
    if limit in _REQUIRED:
        return tr(_REQUIRED[limit])
    word, _, number = limit.partition(" ")
    if word == "under" and number:
        return tr("must be under {limit}", limit=number)
    return tr("must be {limit}", limit=limit) if limit else ""


def result(check: Mapping[str, Any]) -> str:
    """How a check ended: passed, failed, no limit or not checked, in the language that is spoken."""
    if check.get("passed") is True:
        return ptr("check", "no limit") if check.get("limit") == NO_LIMIT else ptr("check", "passed")
    return ptr("check", "failed") if check.get("passed") is False else tr("not checked")


MOST_DIFFERENT = 0.01
"""The share of texts that llama.cpp may split differently where it has no equal for the tokenizer."""


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        name: "tokens", "prompt", "bos", "stop", "settings", "embeddings", "layers", "adapter", "nmse", "top1", "kl",
            "perplexity" or "device".
        passed: None if it wasn't measured.
        figure: what was found, as people read it.
        limit: what is right, as people read it.
        remedy: a sentence or two when it failed: what is wrong and what to do; empty otherwise.
    """

    name: str
    passed: bool | None
    figure: str
    limit: str
    remedy: str = ""


@dataclass(frozen=True)
class Limits:
    """Largest NMSE, least share of equal first choices, largest KL divergence (nats) and change of perplexity.

    None for a figure that is only shown.
    """

    nmse: float
    top1: float | None
    kl: float | None
    perplexity: float | None


WIDE = Limits(1e-4, 0.99, 1e-3, 0.01)
"""F16 and F32: arithmetic alone."""
BF16 = Limits(1e-3, 0.95, 0.01, 0.02)
"""llama.cpp rounds what goes through the layers to 8 bits of precision too: the starter model comes to 4.5e-5."""
QUANTIZED = ((8.0, Limits(0.05, None, None, None)), (0.0, Limits(0.7, None, None, None)))
"""From this many bits a weight. A loss is expected and shown; the limit only catches broken files. Random weights in 4
bits come to 0.3, a model that has nothing to do with the file to 2."""
CARD = Limits(0.02, 0.9, 0.05, None)
"""Of a file on a graphics card against the same file on the processor, which rounds activations to 8 bits where the
card computes in 16: the starter as Q4_1 comes to 1.7e-3, 97% and 7e-3 by Vulkan; a wrong kernel to 0.5 and more."""
EXPORT = noop("Export it again; if that fails too, please report it.")
OTHER_RUN = noop("Choose the run that this file was made from, or export it again.")


def read(export: Path) -> dict[str, Any]:
    """What NAME.parity.json says about a file, in the language that is spoken now; empty when it was never proven.

    What an older program wrote without the figures for it, or would have decided differently, stays as it is.

    Raises:
        UserError: a newer program wrote it.
    """
    found = formats.read("parity", export.with_suffix(".parity.json")) or {}
    kind = next((kind for kind in QUANT_TYPES if kind.name == found.get("type")), None)
    try:
        now = judged(found, kind)
        same = [check["passed"] for check in found["checks"]] == [check["passed"] for check in now["checks"]]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return found
    return {**found, **now} if same else found


def judged(found: dict[str, Any], kind: QuantType | None) -> dict[str, Any]:
    """What the figures of all comparisons come to.

    Returns:
        `{"passed", "verdict", "failures": [sentence], "checks": [`Check`]}`.
    """
    checks = [*token_checks(found), *weight_checks(found), *answer_checks(found, kind), *card_checks(found)]
    failures = [check.remedy for check in checks if check.passed is False]
    return {"passed": not failures, "verdict": verdict(found, failures), "failures": failures,
            "checks": [asdict(check) for check in checks]}


def verdict(found: dict[str, Any], failures: list[str]) -> str:
    """The first failure; or what was compared and is the same."""
    if failures:
        more = len(failures) - 1
        return f"{failures[0]} {ntr('And {n} more.', 'And {n} more.', more)}" if more else failures[0]
    if other := found["token_ids_differ"]:
        said = [tr("Same tokens in {same:,} of {texts:,} texts and same prompt in {prompts:,} conversations.",
                   same=found["texts"] - other, texts=found["texts"], prompts=found["prompts"]),
                tr("All {own:,} of your conversations are among them. {other:,} of our texts differ, such as "
                   "{example!r}, which llama.cpp can't split in the same way.", own=found["user_conversations"],
                   other=other, example=found["token_ids_example"][0])]
    else:
        said = [tr("Same tokens in {texts:,} texts and same prompt in {prompts:,} conversations.",
                   texts=found["texts"], prompts=found["prompts"])]
    said.append(tr("The answers weren't compared.") if found["positions"] == 0 else
                tr("The first choice is the same at {share:.1%} of {positions} positions (NMSE {nmse:.1e}, perplexity "
                   "{change:+.2%}).", share=found["top1"], positions=found["positions"], nmse=found["nmse"],
                   change=found["perplexity_change"]))
    return " ".join(said)


def limits_of(kind: QuantType | None) -> Limits:
    if kind is not None and not kind.quantized:
        return BF16 if kind.name == "BF16" else WIDE
    bits = kind.bits_per_weight if kind else 0.0
    return next(limits for least, limits in QUANTIZED if bits >= least)


def token_checks(found: dict[str, Any]) -> list[Check]:
    """From `worker.parity.parity`."""
    differ, other, stop = found["token_ids_differ"], found["prompts_differ"], end_figure(found)
    own = found["user_conversations"]
    wrong = ""
    if differ:
        wrong = tr("{differ:,} of {texts:,} texts get different tokens than in training, for instance {example!r}. "
                   "Don't serve this file: use the merged folder, and please report the model's name.", differ=differ,
                   texts=found["texts"], example=found["token_ids_example"][0])
    nearly = bool(found["cuts_nearly"] and own)
    return [_check("tokens", not differ or rare(found), _share(differ, found["texts"]),
                   tr("all {own:,} of your conversations, and 99% of our texts", own=own) if nearly else "all", wrong),
            _check("prompt", not other, _share(other, found["prompts"]), "all",
                   tr("The stored chat template renders conversations differently than in training. Export the file "
                      "again instead of changing its template.")),
            _check("bos", found["one_bos"], tr("as in training") if found["one_bos"] else tr("differs"),
                   tr("as in training"),
                   tr("Servers would put a beginning-of-sequence token where training had none, leave it out, or "
                      "double it. Export the file again.")),
            _check("stop", found["stops_at_end_of_turn"], stop, "ends",
                   tr("Answers wouldn't stop where they should: {reason}. Export the file again.", reason=stop))]


def end_figure(found: dict[str, Any]) -> str:
    """How an answer ends, in words; what is wrong with its end was said when it was found."""
    if not found["stops_at_end_of_turn"]:
        return str(found["stop_figure"])
    return tr("ends") if found["generated"] else tr("ends, not tried: the model itself didn't end any answer")


def rare(found: dict[str, Any]) -> bool:
    """Whether the texts with other tokens are the few that llama.cpp has no way to cut alike, and none of the user's
    own is among them. Without conversations of the user's own nothing says that they don't matter."""
    ours = found["texts"] - found["user_prompts"] - found["user_conversations"]
    return bool(found["cuts_nearly"] and found["user_conversations"] and not found["token_ids_own_differ"]
                and found["token_ids_differ"] <= MOST_DIFFERENT * ours)


def weight_checks(found: dict[str, Any]) -> list[Check]:
    settings, tokens, layers = ", ".join(found["settings_differ"]), found["tokens_wrong"], found["layers_wrong"]
    wrong = tr("The file was written with settings that differ from the model's: {settings}.", settings=settings)
    checks = [_check("settings", not settings, settings or tr("equal"), tr("equal"), f"{wrong} {tr(EXPORT)}")]
    if count := found["tokens_compared"]:
        wrong = tr("The embeddings of {wrong:,} of {tokens:,} tokens aren't the model's, for instance that of "
                   "{example!r}.", wrong=tokens, tokens=count, example=found["tokens_wrong_example"])
        checks.append(_check("embeddings", not tokens, _share(tokens, count), "all", f"{wrong} {tr(EXPORT)}"))
    if count := found["layers_compared"]:
        wrong = tr("The weights of {wrong:,} of {layers:,} layers differ from the model's, for instance {example}.",
                   wrong=len(layers), layers=count, example=layers[0] if layers else "")
        checks.append(_check("layers", not layers, _share(len(layers), count), "all", f"{wrong} {tr(OTHER_RUN)}"))
    if found["adapter_strength"] is not None:
        checks.append(_adapter_check(found["adapter_strength"], found["adapter_strength_error"],
                                     found.get("adapter_change", 1.0), found.get("adapter_rounding", 0.0)))
    return checks


def _adapter_check(strength: float, error: float, change: float, rounding: float) -> Check:
    """If rounding hides a tenth of what was learned, four standard errors are allowed; if it hides half, nothing
    is said about it.

    A change smaller than the type's steps is rounded back to what the base had, above all where the base itself was
    unpacked from that type. So little of it is in the file then that it looks like another adapter's.
    """
    allowed = max(0.1, 4 * error)
    figure = f"{strength:.0%} ± {2 * error:.0%}" if error > 0.005 else f"{strength:.0%}"
    if allowed >= 0.5:
        return Check("adapter", None, tr("{strength}: rounding hides it", strength=figure), "")
    if change < rounding and -allowed < strength < 1 - allowed:
        remedy = tr("Only {strength:.0%} of what was learned is left in the file: training changed the weights by "
                    "{change:.2%} of their size, less than the {rounding:.1%} by which this type rounds them. Export "
                    "as Q8_0 or F16, which keep small changes, or train longer. If F16 gives the same result, the file "
                    "was made from another adapter.", strength=strength, change=change, rounding=rounding)
    else:
        remedy = tr("The file has {strength:.0%} of what was learned: it was made from another adapter, or from none.",
                    strength=strength) + f" {tr(OTHER_RUN)}"
    return _check("adapter", abs(strength - 1) <= allowed, figure,
                  tr("{low:.0%} to {high:.0%}", low=1 - allowed, high=1 + allowed), remedy)


def answer_checks(found: dict[str, Any], kind: QuantType | None) -> list[Check]:
    if not found["positions"]:
        return [Check(name, None, tr("not measured"), "") for name in ("nmse", "top1", "kl", "perplexity")]
    limits, near, change = limits_of(kind), found["near_ties"], found["perplexity_change"]
    nmse, kl, top1 = f"{found['nmse']:.1e}", f"{found['kl']:.1e} nats", f"{found['top1']:.1%}"
    if near:
        top1 = ntr("{share}, {n} near tie", "{share}, {n} near ties", near, share=top1)
    if rerouted := found.get("rerouted"):
        nmse = ntr("{error}, without {n} position where rounding chose another expert",
                   "{error}, without {n} positions where rounding chose another expert", rerouted, error=nmse)
    # Of a few rows, so only its change means something: the run has one of its own, of all held-out rows.
    perplexity = f"{change:+.2%}"
    advice = tr(EXPORT)
    if kind is not None and kind.quantized:
        advice += " " + tr("Or choose a type with more bits.")
    differ = {  # the limit is left out where only a figure that isn't a number can fail
        "nmse": tr("The logits differ too much: {figure}; the limit is {limit}.", figure=nmse,
                   limit=f"{limits.nmse:g}"),
        "top1": tr("Too few of the first choices are the same: {figure}; at least {limit:.0%} is needed.", figure=top1,
                   limit=limits.top1) if limits.top1 else
        tr("Too few of the first choices are the same: {figure}.", figure=top1),
        "kl": tr("The probabilities of the next token differ too much: {figure}; the limit is {limit}.", figure=kl,
                 limit=f"{limits.kl:g} nats") if limits.kl else
        tr("The probabilities of the next token differ: {figure}.", figure=kl),
        "perplexity": tr("The right answers became less likely: {figure}; the limit is {limit}.", figure=perplexity,
                         limit=f"{limits.perplexity:+.0%}") if limits.perplexity else
        tr("The right answers became less likely: {figure}.", figure=perplexity),
    }

    def figure(name: str, passed: bool, text: str, limit: str) -> Check:
        return _check(name, passed, text, limit, f"{differ[name]} {advice}")

    # Limits are kept in English: the tables of checks know them by their words. NaN passes none of the checks.
    same = found["top1"] + near / found["positions"]
    return [
        figure("nmse", found["nmse"] < limits.nmse, nmse, f"under {limits.nmse:g}"),
        figure("top1", same >= (limits.top1 or 0), top1, f"at least {limits.top1:.0%}" if limits.top1 else NO_LIMIT),
        figure("kl", found["kl"] < (limits.kl or math.inf), kl, f"under {limits.kl:g} nats" if limits.kl else NO_LIMIT),
        figure("perplexity", change < (limits.perplexity or math.inf), perplexity,
               f"under {limits.perplexity:+.0%}" if limits.perplexity else NO_LIMIT),
    ]


def card_checks(found: dict[str, Any]) -> list[Check]:
    """From `worker.parity.on_card`; nothing where no card computes."""
    if not (card := found.get("card")):
        return []
    if not card["positions"]:
        return [Check("device", None, card["reason"], "")]
    same = card["top1"] + card["near_ties"] / card["positions"]
    figure = tr("{share:.1%} at {positions} positions, NMSE {nmse:.1e}", share=same, positions=card["positions"],
                nmse=card["nmse"])
    passed = card["nmse"] < CARD.nmse and same >= (CARD.top1 or 0) and card["kl"] < (CARD.kl or 0)
    return [_check("device", passed, figure, f"under {CARD.nmse:g}",
                   tr("On the {card}, this file answers differently than on the processor ({figure}). Update the "
                      "graphics driver, or choose Processor as the device for chat.", card=card["name"],
                      figure=figure))]


def _check(name: str, passed: bool, figure: str, limit: str, remedy: str) -> Check:
    return Check(name, passed, figure, limit, "" if passed else remedy)


def _share(differ: int, count: int) -> str:
    return tr("{part:,} of {total:,}", part=count - differ, total=count)
