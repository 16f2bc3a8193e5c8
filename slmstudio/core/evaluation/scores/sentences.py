"""What scores.json says, in the language of who reads it: its sentences are computed from the figures beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from slmstudio.core.evaluation.scores import judging, verdicts
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.model_pairs import MOST_GROUPS
from slmstudio.core.files import an_object
from slmstudio.core.i18n import ntr, tr

State = dict[str, Any]


def retranslate(scores: State) -> State:
    """The scores with every sentence in the language that is spoken now.

    What an older program wrote without the figures for it, or what is damaged, stays as it is.
    """
    said = dict(scores)
    for key, speak in _PARTS.items():
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            said[key] = speak(said)
    return said


def remarks(scores: Mapping[str, Any]) -> list[str]:
    """What a reader of the scores should know beside them.

    Args:
        scores: {"test": {"rows", "trained_on", "groups": how many there are of each kind, "damaged": lines},
            "models": [{"name", "same_tokens": as the first, "rows", "speed"}], "comparisons"}, as in scores.json;
            "rows" and "speed" may be missing together.

    Raises:
        KeyError, TypeError, ValueError: they aren't whole.
    """
    test, compared, models, found = scores["test"], scores["comparisons"], scores["models"], []
    if left_out := max((each["left_out"] for each in compared), default=0):
        found.append(tr("Comparisons leave out {left_out:,} of {rows:,} rows, because one of the models didn't answer "
                        "them.", left_out=left_out, rows=test["rows"]))
    if others := [model["name"] for model in models if not model["same_tokens"]]:
        found.append(tr("The loss isn't compared: the two models split text into different tokens.")
                     if len(models) == 2 else
                     tr("The loss isn't compared with that of {first} for these models, which split text into "
                        "different tokens: {others}.", first=models[0]["name"], others=", ".join(others)))
    if test["trained_on"]:
        found.append(tr("{trained_on:,} of {rows:,} rows were in the training data. A good answer to them shows "
                        "memory, not skill.", trained_on=test["trained_on"], rows=test["rows"]))
    loops = [tr("{model}: {repeated:,} of {rows:,}", model=model["name"], repeated=repeated, rows=model["rows"])
             for model in models if (repeated := an_object(model.get("speed")).get("repeated"))]
    if loops:
        found.append(tr("Answers that repeated themselves were stopped ({counts}). A lower learning rate, fewer epochs "
                        "or more rows help a tuned model; in Chat, a repeat penalty helps any.",
                        counts=", ".join(loops)))
    main = next((METRICS[each["metric"]].name for each in compared if each["main"]), None)
    if main and len({each["metric"] for each in compared}) > 1:
        found.append(tr("Judge by {metric}, which was chosen before anything was measured: of 20 scores that are "
                        "really equal, one differs by chance.", metric=tr(main)))
    for name, count in test["groups"].items():
        if count > MOST_GROUPS:
            found.append(tr("“{column}” has {count:,} values. Only the {most} with the most rows are scored "
                            "separately, and none with a single row.", column=name, count=count, most=MOST_GROUPS))
    if test["damaged"]:
        found.append(ntr("{n:,} damaged line was skipped.", "{n:,} damaged lines were skipped.", test["damaged"]))
    return found


def with_losses(compared: list[State]) -> list[State]:
    """Where the score that decides tells nothing and the loss does, the sentence says that too: training lowers a loss
    long before the written answers are any better."""
    losses = {each["of"]: each for each in compared if each["metric"] == "loss" and each["verdict"] != verdicts.UNKNOWN}
    return [{**each, "sentence": tr("{verdict} The loss does show a difference. {loss_verdict}",
                                    verdict=each["sentence"], loss_verdict=losses[each["of"]]["sentence"])}
            if each["main"] and each["verdict"] == verdicts.UNKNOWN and each["of"] in losses else each
            for each in compared]


def _one_by_one(compared: list[State]) -> list[State]:
    return [{**each, "sentence": verdicts.sentence(each)} for each in compared]


def _groups(scores: State) -> dict[str, dict[str, list[State]]]:
    return {name: {group: _one_by_one(compared) for group, compared in groups.items()}
            for name, groups in scores["group_comparisons"].items()}


def _judge(scores: State) -> State | None:
    found = scores["judge"]
    if found is None:
        return None
    agreed = found["agreement"]
    return {**found, **judging.told(found["pairs"]),
            "agreement": {**agreed, "sentence": judging.agreement_sentence(agreed)} if agreed else None}


def _benchmarks(scores: State) -> list[State]:
    return [{**each, "sentence": benchmark_sentence(each["title"], each["comparisons"]) or each["sentence"]}
            for each in scores["benchmarks"]]


def benchmark_sentence(title: str, compared: list[State]) -> str:
    """What a benchmark says about each model against the first; "" of one that is alone."""
    several = len(compared) > 1
    return " ".join((f"{each['of']}: " if several else "") + verdicts.kept(title, each) for each in compared)


_PARTS: dict[str, Callable[[State], Any]] = {
    "comparisons": lambda scores: with_losses(_one_by_one(scores["comparisons"])), "group_comparisons": _groups,
    "judge": _judge, "benchmarks": _benchmarks, "remarks": remarks}
