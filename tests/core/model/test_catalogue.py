"""The catalogue: its figures agree with each other and have sources, names find their models, filters leave the right
ones."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from slmstudio.core import i18n, paths
from slmstudio.core.errors import UserError
from slmstudio.core.model import architecture, catalogue
from slmstudio.core.model.catalogue import CatalogueEntry, entries, find, nearest, search
from slmstudio.core.model.facts import model_name

ALL = pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
LIKE = {"granite": "llama", "olmo2": "llama", "exaone4": "qwen3"}
"""Families with (nearly) the tensors of another whose tensors `architecture` knows."""
SEEING = 420_000_000
"""Parameters of the part of Gemma 3 4B that sees."""


def parameters_by_sizes(entry: CatalogueEntry) -> int:
    config: Mapping[str, object] = {"model_type": LIKE.get(entry.model_type, entry.model_type),
                                    "tie_word_embeddings": entry.tied_embeddings}
    sizes = {name: getattr(entry, name) for name in
             ("layers", "hidden_size", "intermediate_size", "heads", "kv_heads", "head_dim")}
    tensors = architecture.needed(config, {**sizes, "vocabulary_size": entry.vocabulary})
    return sum(math.prod(shape) for shape in tensors.values() if shape is not None)


def test_the_families_that_people_ask_for_are_there():
    families_there = {entry.family for entry in entries()}
    assert {"Phi-3", "Llama", "Mistral", "Qwen2", "Qwen3", "TinyLlama", "Gemma 2", "Gemma 3", "SmolLM", "SmolLM3",
            "Sarvam", "Airavata", "Granite"} <= families_there
    assert len(entries()) >= 60


@ALL
def test_its_parameters_follow_from_its_sizes(entry: CatalogueEntry):
    """A figure that was mistyped shows here. Pragna's sizes have no source, so that there is nothing to add up."""
    if entry.facts(Path("x")) is None:
        assert entry.name == "pragna-1b"
        return
    seeing = SEEING if entry.name.startswith("gemma-3-4b") else 0
    assert parameters_by_sizes(entry) + seeing == pytest.approx(entry.parameters, rel=0.001)


@ALL
def test_its_size_on_disk_is_two_bytes_for_each_parameter(entry: CatalogueEntry):
    """Qwen3's small ones hold the tied head a second time."""
    again = entry.vocabulary * (entry.hidden_size or 0) if entry.name in ("Qwen3-0.6B", "Qwen3-1.7B") else 0
    assert entry.download_bytes == pytest.approx(2 * (entry.parameters + again), rel=0.001)


@ALL
def test_it_is_one_that_can_be_trained_and_says_what_it_is(entry: CatalogueEntry):
    assert entry.model_type in architecture.CAUSAL
    assert re.fullmatch(r"[\w-]+/[\w.-]+", entry.id) and entry.title
    assert entry.kind in ("base", "instruct")
    assert 0.1e9 < entry.parameters < 9.5e9
    assert entry.context is None or entry.context >= 2048
    assert entry.family == architecture.family_label(entry.model_type, entry.name) or entry.family == "Falcon3"


@ALL
def test_each_of_its_figures_has_a_source(entry: CatalogueEntry):
    told = {"sizes": True, "parameters": True, "context": entry.context, "languages": entry.language_count,
            "licence": entry.licence.id, "gated": entry.gated is not None, "disk_bytes": entry.disk_bytes}
    assert set(entry.sources) == {group for group, known in told.items() if known}
    assert all(len(source) > 3 for source in entry.sources.values())


def test_the_file_names_no_host_and_each_licence_and_list_of_languages_is_used():
    text = (paths.resources() / catalogue.FILE).read_text(encoding="utf-8")
    assert not re.search(r"https?:|www\.|\b[\w-]+\.(?:co|com|org|io|ai|in)\b", text)
    state = json.loads(text)
    assert {model["licence"] for model in state["models"]} - {None} == set(state["licences"])
    assert {model["languages"] for model in state["models"]} - {None} == set(state["language_lists"])
    named = {code for each in state["language_lists"].values() for code in each["named"]}
    assert named == set(state["language_names"])
    assert all(len(each["named"]) == len(set(each["named"])) <= each["count"]
               for each in state["language_lists"].values())
    assert len({entry.id.lower() for entry in entries()}) == len(entries())


@pytest.mark.parametrize(("said", "meant"), [
    ("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B"),
    ("qwen 2.5 1.5b", "Qwen/Qwen2.5-1.5B"),
    ("qwen2.5-1.5b-instruct", "Qwen/Qwen2.5-1.5B-Instruct"),
    ("Llama-3.2-1B", "meta-llama/Llama-3.2-1B"),
    ("llama 3.2 1b instruct", "meta-llama/Llama-3.2-1B-Instruct"),
    ("META-LLAMA/meta-llama-3.1-8b", "meta-llama/Llama-3.1-8B"),
    ("Phi-4 mini", "microsoft/Phi-4-mini-instruct"),
    ("gemma 3 1b", "google/gemma-3-1b-pt"),
    ("gemma-3-1b-it", "google/gemma-3-1b-it"),
    ("tinyllama 1.1b", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
    ("Qwen3 4B", "Qwen/Qwen3-4B"),
    ("airavata", "ai4bharat/Airavata"),
])
def test_a_name_finds_its_model(said: str, meant: str):
    found = find(said)
    assert found is not None and found.id == meant


@ALL
def test_its_own_names_find_it(entry: CatalogueEntry):
    assert find(entry.id) is find(entry.name) is find(entry.title) is entry
    assert find(model_name(Path("models") / entry.name)) is entry


@pytest.mark.parametrize("said", ["", "qwen", "mistral 7b", "instruct", "gpt-17", "Phi-3 mini", "../etc"])
def test_a_name_that_means_none_or_several_finds_nothing(said: str):
    assert find(said) is None


@pytest.mark.parametrize(("said", "first"), [
    ("Qwen/Qwen2.5-1.5B-Instrct", "Qwen/Qwen2.5-1.5B-Instruct"),
    ("lama 3.2 1b", "meta-llama/Llama-3.2-1B"),
    ("openhathi", "sarvamai/OpenHathi-7B-Hi-v0.1-Base"),
    ("Phi-3 mini", "microsoft/Phi-3-mini-4k-instruct"),
    ("smolm2-135m", "HuggingFaceTB/SmolLM2-135M"),
])
def test_a_misspelled_name_suggests_what_was_meant(said: str, first: str):
    suggested = nearest(said)
    assert suggested[0].id == first and len(suggested) <= 5
    assert len({entry.id for entry in suggested}) == len(suggested)


def test_nothing_is_suggested_for_what_is_like_no_name():
    assert nearest("zzzzzzzzzz") == nearest("") == []


def test_a_language_leaves_those_whose_makers_name_it_and_then_those_who_name_not_all():
    hindi = search(language="Hindi")
    assert hindi == search(language="hi")
    named = [entry for entry in hindi if entry.speaks("hi")]
    assert hindi[:len(named)] == named
    names = {entry.name for entry in named}
    assert {"Llama-3.2-1B", "Qwen3-0.6B", "sarvam-1", "Airavata"} <= names
    rest = {entry.name for entry in hindi[len(named):]}
    assert "gemma-3-270m" in rest and "Qwen2.5-1.5B" in rest  # 140 and 29 are counted, fewer are named
    assert not {"SmolLM2-135M", "Mistral-7B-v0.3", "Phi-4-mini-instruct"} & (names | rest)


@pytest.mark.parametrize(("filters", "names"), [
    ({"text": "qwen 3b", "licence": "research"}, ["Qwen2.5-3B", "Qwen2.5-3B-Instruct"]),
    ({"text": "gemma 270m", "kind": "base"}, ["gemma-3-270m"]),
    ({"text": "Telugu", "licence": "sarvam-nc"}, ["sarvam-1"]),
    ({"text": "phi", "licence": "mit", "kind": "base"}, []),
])
def test_filters_are_combined(filters: dict[str, str], names: list[str]):
    assert [entry.name for entry in search(**filters)] == names


def test_without_a_filter_all_are_left():
    assert search() == list(entries())
    commercial, research = search(licence="commercial"), search(licence="research")
    neither = [entry for entry in entries() if entry.licence.commercial is None]
    assert len(commercial) + len(research) + len(neither) == len(entries())
    assert {entry.name for entry in neither} == {
        "Qwen2-0.5B-Instruct", "Qwen2-1.5B-Instruct", "Qwen2-7B-Instruct"}


@pytest.mark.parametrize(("filters", "remedy"), [
    ({"language": "Hind"}, "Did you mean 'Hindi'?"),
    ({"licence": "comercial"}, "Did you mean 'commercial'?"),
    ({"kind": "chat"}, "It has: base, instruct."),
])
def test_an_unknown_filter_is_told_with_the_nearest(filters: dict[str, str], remedy: str):
    (what, given), = filters.items()
    with pytest.raises(UserError) as caught:
        search(**filters)
    assert caught.value.what == f"The catalogue has no {what} {given!r}." and caught.value.remedy == remedy


def test_languages_have_english_names_in_their_order():
    names = catalogue.languages()
    assert names["hi"] == "Hindi" and names["ta"] == "Tamil"
    assert list(names.values()) == sorted(names.values())


def test_what_a_licence_allows_and_asks_for_is_said():
    llama = find("Llama 3.2 1B")
    assert llama is not None and llama.licence.use == (
        "Commercial use is allowed up to 700 million monthly users. Show “Built with Llama”, begin the tuned model's "
        "name with “Llama”, and pass on the licence.")
    qwen2 = find("Qwen2 7B Instruct")
    assert qwen2 is not None and "Read it on the model's page" in qwen2.licence.use


def test_licences_and_languages_are_told_in_the_language_that_is_spoken():
    i18n.use("hi")
    llama = find("Llama 3.2 1B")
    assert llama is not None and "करोड़" in llama.licence.use and "allowed" not in llama.licence.use
    assert catalogue.languages()["ta"] == "तमिल" and catalogue.language_code("Tamil") == "ta"


def test_facts_say_what_the_model_will_be_on_the_disk(tmp_path: Path):
    entry = find("SmolLM2 135M Instruct")
    assert entry is not None
    facts = entry.facts(tmp_path)
    assert facts is not None
    assert (facts.path, facts.name, facts.family) == (tmp_path, "SmolLM2-135M-Instruct", "SmolLM")
    assert (facts.parameters, facts.layers, facts.hidden_size, facts.heads, facts.kv_heads) == (
        134_515_008, 30, 576, 9, 3)
    assert (facts.context_length, facts.disk_bytes, facts.dtype) == (8192, 269_060_552, "bf16")
    assert facts.has_chat_template and facts.tied_embeddings and facts.licence == "Apache-2.0"
