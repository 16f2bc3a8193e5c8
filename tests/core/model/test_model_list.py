"""What there is to choose from: on the disk first, then the catalogue, without naming a model twice."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from support import model_files

from slmstudio.core import paths
from slmstudio.core.model import catalogue
from slmstudio.core.model.library import listed

SMOL = "SmolLM2-135M-Instruct"


def write_smol(folder: Path) -> Path:
    """A folder with the real sizes of SmolLM2-135M; its weights are a hole in the file."""
    config = {**model_files.CONFIG, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
              "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192}
    model_files.write_model(folder)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    header, end = {}, 0
    for name, (dtype, shape) in model_files.llama_tensors(576, 1536, 30, 9, 3, 49152).items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return folder


def test_without_models_the_whole_catalogue_is_listed(studio_home: Path):
    found = listed()
    assert found.on_disk == found.unreadable == ()
    assert [model.name for model in found.catalogue] == [entry.id for entry in catalogue.entries()]
    assert all(model.folder is None for model in found.catalogue)
    assert [model.name for model in found.catalogue if model.facts is None] == ["soketlabs/pragna-1b"]


def test_a_model_on_the_disk_is_named_with_what_the_catalogue_knows_and_not_twice(studio_home: Path):
    folder = write_smol(paths.models_dir() / SMOL)
    found = listed()
    (smol,) = found.on_disk
    assert (smol.name, smol.folder, smol.parameters) == (f"HuggingFaceTB/{SMOL}", folder, 134_515_008)
    assert smol.entry is catalogue.find(SMOL) and smol.facts is not None and smol.facts.path == folder
    assert smol.name not in {model.name for model in found.catalogue}
    assert len(found.catalogue) == len(catalogue.entries()) - 1


def test_its_own_files_overrule_the_catalogue(studio_home: Path):
    folder = write_smol(paths.models_dir() / SMOL)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}), encoding="utf-8")
    (smol,) = listed().on_disk
    assert smol.licence == "MIT" and smol.to_dict()["context"] == 2048
    assert smol.disk_bytes == (folder / "model.safetensors").stat().st_size


def test_another_model_of_the_same_name_is_not_the_catalogues(studio_home: Path):
    model_files.write_model(paths.models_dir() / SMOL)  # a thousand parameters
    found = listed()
    (other,) = found.on_disk
    assert other.entry is None and other.name == SMOL and other.to_dict()["languages"] == []
    assert f"HuggingFaceTB/{SMOL}" in {model.name for model in found.catalogue}


def test_filters_hold_for_both(studio_home: Path):
    write_smol(paths.models_dir() / SMOL)
    model_files.write_model(paths.models_dir() / "my-own")
    assert [model.name for model in listed("own").on_disk] == ["my-own"]
    hindi = listed(language="hi")
    assert hindi.on_disk == ()  # SmolLM2 is English; of the other nothing is known
    english = listed(language="en", licence="commercial")
    assert [model.title for model in english.on_disk] == ["SmolLM2 135M Instruct"]


def test_a_folder_that_cannot_be_used_is_named_with_the_reason(studio_home: Path):
    folder = model_files.write_model(paths.models_dir() / "broken")
    (folder / "tokenizer.json").unlink()
    found = listed()
    ((where, error),) = found.unreadable
    assert where == folder and "no tokenizer" in str(error)


def test_as_json_each_says_where_it_is_from(studio_home: Path):
    (sarvam,) = listed("sarvam-1").catalogue
    state = sarvam.to_dict()
    assert state["name"] == "sarvamai/sarvam-1" and state["folder"] is None
    assert state["languages"][:2] == ["bn", "en"] and state["language_count"] == 11
    assert state["licence"] == "Sarvam non-commercial" and state["licence_use"].startswith("Non-commercial use only.")
    assert state["disk_bytes"] == 2 * state["parameters"] == 5_050_175_488
    assert state["sources"]["parameters"] == "safetensors total of the hub's API"
    json.dumps(state)
