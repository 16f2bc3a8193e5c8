"""Honest models pass: as they are made, downloaded and copied, with whatever lies beside them."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from support import crafted_models, family_models, model_files, more_layouts, spoken, starter

import slmstudio
from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.vetting import tokenizer
from slmstudio.core.model.vetting.tokenizer import SCRIPTS
from slmstudio.core.model.vetting.vet import NAMES, read_vetted, vet, why_no_gguf


@pytest.fixture(autouse=True)
def _home(studio_home: Path) -> None:
    """What is remembered of a vetting stays with the test."""


def passes(folder: Path) -> tuple[str, ...]:
    """The warnings about a folder that passes every check."""
    found = vet(folder)
    assert found.passed, found.problems
    assert all(check.passed and check.sentence for check in found.checks)
    return found.warnings


@pytest.mark.parametrize("family", family_models.FAMILIES)
def test_the_families(families: Path, family: str) -> None:
    assert passes(families / family) == ()
    assert [check.name for check in vet(families / family).checks] == list(NAMES)


def test_the_starter() -> None:
    assert passes(starter.model()) == ()
    last = vet(starter.model()).checks[-1].sentence
    assert last == "The chat template renders a conversation, and ends each answer with <|im_end|>."


def test_an_architecture_that_cannot_become_a_gguf_is_told_of_before_it_is_trained(tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["NewForCausalLM"]}), encoding="utf-8")
    [warning] = passes(folder)
    assert "NewForCausalLM to GGUF" in warning and "MERGED" in warning
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba2"}), encoding="utf-8")
    [problem] = vet(folder).problems
    assert "Mamba 2 uses recurrent states" in problem.message


@pytest.mark.parametrize(("pattern", "told"), [(more_layouts.TEKKEN_CUT, True), (more_layouts.O200K_CUT, False)])
def test_a_tokenizer_that_llama_cpp_cuts_otherwise_is_told_of(tmp_path: Path, pattern: str, told: bool) -> None:
    facts = read_model(crafted_models.honest(tmp_path / "model"))
    state = json.loads((facts.path / "tokenizer.json").read_text(encoding="utf-8"))
    state["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    (facts.path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    said = why_no_gguf(facts)
    assert ("tokenizer of Mistral Nemo and Ministral" in (said or "")) == told


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_the_hubs_cache(tmp_path: Path) -> None:
    """Every file is a link to a blob, beside the snapshots."""
    model = tmp_path / "models--Org--Small"
    folder = crafted_models.honest(model / "snapshots" / "0a1b")
    (model / "blobs").mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(model / "blobs" / str(number))
        file.symlink_to(Path("..", "..", "blobs", str(number)))
    assert passes(folder) == () and read_model(folder).name == "Small"
    linked = tmp_path / "favourite"
    linked.symlink_to(folder)
    assert passes(linked) == ()
    outside = tmp_path / "blobs-of-others"
    outside.write_text("{}")
    (folder / "generation_config.json").symlink_to(outside)
    assert "generation_config.json is a link that leads out of the folder" in vet(folder).problems[0].message


def test_shards(tmp_path: Path) -> None:
    assert passes(crafted_models.shards(tmp_path / "m")) == ()


def test_what_lies_beside_a_model_is_never_opened(tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "m")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Small")
    (folder / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (folder / "training_args.bin").write_bytes(pickle.dumps(crafted_models.Evil(folder)))
    (folder / "runs").mkdir()
    (folder / "runs" / "optimizer.pt").write_bytes(crafted_models.torch_zip(folder))
    (folder / "modeling_small.py").write_text("raise SystemExit")
    assert passes(folder) == (
        "The folder also contains Python pickles, which this program never opens: runs/optimizer.pt, "
        "training_args.bin.",
        "The folder also contains programs, which this program never runs: modeling_small.py.")
    assert not (tmp_path / crafted_models.CANARY).exists()


def test_code_that_is_named_and_not_needed(tmp_path: Path) -> None:
    """Phi-3's own config.json has such an auto_map, and transformers brings the architecture."""
    classes = {"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}
    folder = crafted_models.honest(tmp_path / "m", {"auto_map": classes, "_name_or_path": "/home/them/phi3"})
    crafted_models.edit(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_x.X", None]},
                        tokenizer_file="/home/them/tokenizer.json")
    assert passes(folder) == ("The settings name code or places outside the folder, which this program never follows "
                              "(config.json: auto_map; tokenizer_config.json: auto_map, tokenizer_file).",)


def test_a_model_without_a_template(tmp_path: Path) -> None:
    (warning,) = passes(crafted_models.honest(tmp_path / "m", template=None))
    assert warning.startswith("The model has no chat template. Choose a named template")


@pytest.mark.parametrize(("config", "template", "words"), [
    ({"eos_token_id": 7}, model_files.CHATML,
     "EOS is <|im_end|> (token 258) in the tokenizer, but token 7 in config.json"),
    ({"bos_token_id": 7}, model_files.CHATML, "BOS is <|im_start|> (token 257) in the tokenizer, but token 7"),
    ({}, "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
     "doesn't end each answer with a token of its own"),
    ({}, "{% for m in messages %}{{ '<|user|>' + m.content + '<|end|>' }}{% endfor %}",
     "ends answers with <|end|>, which config.json and the tokenizer don't call the end"),
    ({}, "{{ raise_exception('no') }}", "refuses this conversation: no"),
    ({}, "hello{{ eos_token }}", "never shows the question")])
def test_what_is_worth_a_warning(tmp_path: Path, config: dict[str, Any], template: str, words: str) -> None:
    (warning,) = passes(crafted_models.honest(tmp_path / "m", config, template=template))
    assert words in warning


def test_scripts_that_a_tokenizer_loses_are_named(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    folder = crafted_models.honest(tmp_path / "m")
    letters = [chr(code) for code in range(32, 127)] + ["\n", "\t"]
    plain = Tokenizer(models.Unigram([("<unk>", 0.0), *((letter, -1.0) for letter in letters)], unk_id=0))
    crafted_models.edit(folder, "tokenizer.json", **json.loads(plain.to_str()))
    crafted_models.edit(folder, "tokenizer_config.json", bos_token=None, eos_token=None, unk_token="<unk>")
    lost, *_ = passes(folder)
    assert f"loses text in them: {', '.join(SCRIPTS)}." in lost


def test_an_added_token_without_a_row(tmp_path: Path) -> None:
    """Gemma 3's small models have one: a picture's token beyond their embeddings."""
    folder = crafted_models.honest(tmp_path / "m")
    crafted_models.edit(folder, "tokenizer_config.json", added_tokens_decoder={
        str(number): {"content": f"<picture-{number}>"} for number in range(270, 273)})
    (warning,) = passes(folder)
    assert warning.startswith("Some added tokens have no row in the embeddings: <picture-272>.")


def test_what_passed_is_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = crafted_models.honest(tmp_path / "m")
    found = vet(folder)
    assert len(list((paths.cache_dir() / "vetting").iterdir())) == 1
    monkeypatch.setattr(tokenizer, "measure", lambda *_: pytest.fail("the tokenizer is read again"))
    assert vet(folder) == found
    with monkeypatch.context() as newer, pytest.raises(pytest.fail.Exception, match="is read again"):
        newer.setattr(slmstudio, "__version__", "999")
        vet(folder)
    monkeypatch.undo()
    crafted_models.edit(folder, "config.json", eos_token_id=7)
    assert vet(folder) != found
    crafted_models.edit(folder, "config.json", eos_token_id=7_000)
    assert not vet(folder).passed


def test_what_was_said_in_another_language_is_not_said_again(tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "m")
    found = vet(folder)
    with spoken.brackets():
        other = vet(folder)
        assert all(spoken.is_translated(each.sentence) for each in other.checks), other.checks
        assert vet(folder) == other
    assert vet(folder) == found


def test_the_tokenizers_process_speaks_the_language_of_this_one(tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "m")
    (folder / "tokenizer.json").write_text("{}")
    with spoken.brackets():
        (problem,) = vet(folder).problems
    assert spoken.is_translated(problem.message) and "tökéñízér.jšöñ" in problem.message, problem


def test_what_changes_during_the_look_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, measure = crafted_models.honest(tmp_path / "m"), tokenizer.measure

    def swapped(*arguments: Any) -> Any:
        report = measure(*arguments)
        crafted_models.edit(folder, "config.json", eos_token_id=7_000)
        return report

    with monkeypatch.context() as during:
        during.setattr(tokenizer, "measure", swapped)
        assert vet(folder).passed
    assert not vet(folder).passed


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "m", {"configuration_files": ["x"], "eos_token_id": 9_000,
                                                    "head_dim": "4"}, template="{% for %}")
    (folder / "tokenizer.model").write_bytes(pickle.dumps(crafted_models.Evil(folder)))
    found = vet(folder)
    assert [check.name for check in found.checks if not check.passed] == ["pickles", "code", "config", "template"]
    with pytest.raises(UserError, match="2 things are wrong"):
        read_model(folder)
    (folder / "chat_template.jinja").write_text(model_files.CHATML)
    crafted_models.edit(folder, "config.json", configuration_files=[], head_dim=4, eos_token_id=1)
    assert read_model(folder).layers == 2
    with pytest.raises(UserError, match=r"m can't be used as a base model\. tokenizer\.model is a Python pickle"):
        read_vetted(folder)


def test_what_is_no_model_folder_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(model_files.small_gguf())
    for path, words in ((tmp_path / "m.gguf", "is a GGUF file"), (tmp_path / "nowhere", "doesn't exist")):
        (problem,) = vet(path).problems
        assert words in problem.message
