"""The lines of a proof: limits by type, figures that are no number, and a remedy for every failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import spoken
from support.gguf_models import quant_type

from slmstudio.core import files
from slmstudio.core.export.proof import answer_checks, card_checks, judged, read, token_checks, verdict, weight_checks
from slmstudio.core.export.types import QUANT_TYPES

ANSWERS = {"positions": 200, "nmse": 1e-6, "top1": 0.995, "near_ties": 0, "kl": 1e-5, "perplexity_reference": 8.0,
           "perplexity": 8.008, "perplexity_change": 0.001}
TOKENS = {"texts": 4000, "token_ids_differ": 0, "token_ids_example": [], "prompts": 2000, "prompts_differ": 0,
          "token_ids_own_differ": 0, "cuts_nearly": False, "user_prompts": 40, "user_conversations": 960,
          "one_bos": True, "stops_at_end_of_turn": True, "stop_figure": "ends", "generated": [2]}
WEIGHTS: dict[str, Any] = {
    "settings_differ": [], "tokens_compared": 49152, "tokens_wrong": 0, "tokens_wrong_example": None,
    "layers_compared": 210, "layers_wrong": [], "adapter_strength": 1.0,
    "adapter_strength_error": 0.001}


def failed(checks) -> dict[str, str]:
    assert all(bool(check.remedy) == (check.passed is False) for check in checks)
    return {check.name: check.remedy for check in checks if check.passed is False}


@pytest.mark.parametrize("kind", [kind.name for kind in QUANT_TYPES])
def test_a_faithful_file_of_any_type_passes(kind) -> None:
    checks = [*token_checks(TOKENS), *weight_checks(WEIGHTS), *answer_checks(ANSWERS, quant_type(kind))]
    assert failed(checks) == {} and all(check.passed for check in checks)
    figures = {check.name: check.figure for check in checks}
    assert figures["tokens"] == "4,000 of 4,000" and figures["perplexity"] == "+0.10%"


@pytest.mark.parametrize(("name", "value"), [
    ("nmse", 1e-4), ("nmse", float("nan")), ("top1", 0.984), ("kl", 0.002), ("perplexity_change", 0.02),
    ("perplexity_change", float("inf"))])
def test_f16_has_strict_limits(name, value) -> None:
    found = failed(answer_checks({**ANSWERS, name: value}, quant_type("F16")))
    assert list(found) == [name.removesuffix("_change")]
    assert "more bits" not in found[name.removesuffix("_change")]


@pytest.mark.parametrize(("change", "passed"), [
    ({}, True), ({"top1": 0.8, "near_ties": 4}, True), ({"nmse": 0.5}, False), ({"nmse": float("nan")}, False),
    ({"top1": 0.5}, False), ({"kl": 1.0}, False), ({"positions": 0, "reason": "No room."}, None)])
def test_a_card_must_answer_as_the_processor(change, passed) -> None:
    card = {"name": "RTX 3060", "positions": 32, "nmse": 2e-3, "top1": 0.97, "near_ties": 0, "kl": 7e-3, **change}
    [check] = card_checks({"card": card})
    assert check.passed is passed and bool(check.remedy) is (passed is False) and card_checks({}) == []


def test_near_ties_are_told_and_do_not_count_as_errors() -> None:
    checks = answer_checks({**ANSWERS, "top1": 0.97, "near_ties": 4}, quant_type("F16"))
    assert failed(checks) == {} and checks[1].figure == "97.0%, 4 near ties"
    assert failed(answer_checks({**ANSWERS, "top1": 0.97, "near_ties": 3}, quant_type("F16"))) != {}


def test_positions_where_rounding_chose_another_expert_are_told() -> None:
    checks = answer_checks({**ANSWERS, "rerouted": 2}, quant_type("F16"))
    assert checks[0].passed and checks[0].figure == (
        "1.0e-06, without 2 positions where rounding chose another expert")


def test_the_loss_of_a_quantized_file_is_shown_and_only_a_broken_one_fails() -> None:
    lossy = {**ANSWERS, "nmse": 0.2, "top1": 0.6, "kl": 0.5, "perplexity": 12.0, "perplexity_change": 0.5}
    checks = answer_checks(lossy, quant_type("Q2_K"))
    assert failed(checks) == {}
    assert [check.limit for check in checks] == ["under 0.7", "shown only", "shown only", "shown only"]
    assert "more bits" in failed(answer_checks({**lossy, "nmse": 2.0}, quant_type("Q2_K")))["nmse"]
    assert set(failed(answer_checks({**lossy, "kl": float("nan")}, quant_type("Q2_K")))) == {"kl"}
    assert set(failed(answer_checks(lossy, quant_type("Q8_0")))) == {"nmse"}


def test_what_was_not_measured_neither_passes_nor_fails() -> None:
    checks = answer_checks({"positions": 0}, quant_type("F16"))
    assert [check.passed for check in checks] == [None] * 4
    nothing = {**WEIGHTS, "tokens_compared": 0, "layers_compared": 0, "adapter_strength": None}
    assert [check.name for check in weight_checks(nothing)] == ["settings"]


def test_every_failure_names_what_is_wrong() -> None:
    found = failed([*token_checks({**TOKENS, "token_ids_differ": 2, "token_ids_example": ["क़"], "prompts_differ": 1,
                                   "one_bos": False, "stops_at_end_of_turn": False, "stop_figure": "</s> is no end"}),
                    *weight_checks({**WEIGHTS, "settings_differ": ["rope.freq_base 1 instead of 2"], "tokens_wrong": 2,
                                    "tokens_wrong_example": "cat", "layers_wrong": ["layers.3.q"],
                                    "adapter_strength": 0.02})])
    for name, words in {"tokens": "2 of 4,000 texts", "prompt": "template", "bos": "beginning-of-sequence",
                        "stop": "</s> is no end", "settings": "rope.freq_base 1 instead of 2", "embeddings": "'cat'",
                        "layers": "layers.3.q", "adapter": "The file has 2%"}.items():
        assert words in found[name]


@pytest.mark.parametrize(("found", "passes"), [
    ({"cuts_nearly": True}, True), ({"cuts_nearly": False}, False),
    ({"cuts_nearly": True, "token_ids_differ": 30}, True), ({"cuts_nearly": True, "token_ids_differ": 31}, False),
    ({"cuts_nearly": True, "token_ids_own_differ": 1}, False),
    ({"cuts_nearly": True, "user_prompts": 0, "user_conversations": 0}, False)])
def test_a_few_texts_may_differ_where_llama_cpp_has_no_equal_cut_and_none_of_the_users(found, passes) -> None:
    checks = token_checks({**TOKENS, "token_ids_differ": 18, "token_ids_example": ["DÍA"], **found})
    assert ("tokens" not in failed(checks)) == passes
    nearly = found["cuts_nearly"] and found.get("user_conversations", 960)
    assert checks[0].figure != "4,000 of 4,000"
    assert checks[0].limit == ("all 960 of your conversations, and 99% of our texts" if nearly else "all")


def test_a_loosened_proof_says_what_it_compared() -> None:
    found = {**TOKENS, "token_ids_differ": 18, "token_ids_example": ["DÍA"], "positions": 0}
    assert verdict(found, []) == (
        "Same tokens in 3,982 of 4,000 texts and same prompt in 2,000 conversations. All 960 of your conversations "
        "are among them. 18 of our texts differ, such as 'DÍA', which llama.cpp can't split in the same way. The "
        "answers weren't compared.")


@pytest.mark.parametrize(("strength", "change", "swallowed"), [
    (0.23, 0.002, True), (0.02, 0.002, True), (0.23, 0.2, False), (-0.6, 0.002, False), (1.8, 0.002, False)])
def test_a_change_that_rounding_swallowed_is_not_called_another_adapter(strength, change, swallowed) -> None:
    said = failed(weight_checks({**WEIGHTS, "adapter_strength": strength, "adapter_change": change,
                                 "adapter_rounding": 0.071}))["adapter"]
    if swallowed:
        assert said.startswith(f"Only {strength:.0%} of what was learned is left in the file: training changed the "
                               "weights by 0.20% of their size, less than the 7.1% by which this type rounds them")
    assert said.startswith("The file has ") is not swallowed


@pytest.mark.parametrize(("strength", "error", "passed"), [
    (0.85, 0.001, False), (0.85, 0.05, True), (0.7, 0.05, False), (0.02, 0.1, False), (0.02, 0.2, None),
    (1.4, 0.2, None), (float("nan"), float("nan"), False)])
def test_rounding_may_hide_some_of_what_was_learned(strength, error, passed) -> None:
    """A figure that is within its own error is no failure; one that says nothing is no success."""
    [check] = [check for check in weight_checks({**WEIGHTS, "adapter_strength": strength,
                                                 "adapter_strength_error": error}) if check.name == "adapter"]
    assert check.passed is passed
    assert ("±" in check.figure) == (error > 0.005)


@pytest.mark.parametrize("change", [
    {}, {"perplexity_change": 0.5}, {"stops_at_end_of_turn": False, "stop_figure": "it would end at </s>"}])
def test_a_proof_speaks_the_language_of_who_reads_it(tmp_path: Path, change: dict[str, Any]) -> None:
    found = {**TOKENS, **WEIGHTS, **ANSWERS, "type": "F16", **change}
    written = {**judged(found, quant_type("F16")), **found}
    files.write_atomically(tmp_path / "model.parity.json", files.dump_pretty(written))
    assert read(tmp_path / "model.gguf") == written
    with spoken.brackets():
        now = read(tmp_path / "model.gguf")
    assert spoken.is_translated(now["verdict"]) and now["passed"] is not bool(change)
    assert all(map(spoken.is_translated, now["failures"]))
    assert spoken.is_translated(now["checks"][0]["figure"])


@pytest.mark.parametrize("change", [
    {"token_ids_differ": None}, {"perplexity_change": None}, {"checks": "all"},
    {"perplexity_change": 0.5}])  # a version with other limits decided that
def test_an_older_or_damaged_proof_says_what_it_said(tmp_path: Path, change: dict[str, Any]) -> None:
    found = {**TOKENS, **WEIGHTS, **ANSWERS, "type": "F16"}
    written = {**judged(found, quant_type("F16")), **found, **change}
    files.write_atomically(tmp_path / "model.parity.json", files.dump_pretty(written))
    with spoken.brackets():
        assert read(tmp_path / "model.gguf") == written
        assert read(tmp_path / "never.gguf") == {}
