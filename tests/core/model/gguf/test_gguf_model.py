"""GGUF headers: what they say, and that nothing but a sentence comes of a damaged one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import model_files, tiers
from support import starter as starter_model
from support.tiers import examples

from slmstudio.core.errors import UserError
from slmstudio.core.model.gguf import header as gguf_header
from slmstudio.core.model.gguf import model as gguf
from slmstudio.core.model.gguf.model import read_gguf

FUZZ = settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DATA = model_files.small_gguf()
ONE_TENSOR = {"token_embd.weight": (0, (8, 4), 128)}


@pytest.fixture(scope="module")
def starter() -> Path:
    return starter_model.gguf()


def refused(path: Path, data: bytes | None = None) -> str:
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_gguf(path)
    str(caught.value).encode("utf-8")
    return str(caught.value)


def test_the_facts(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(DATA)
    facts = read_gguf(path)
    assert (facts.name, facts.architecture, facts.quantization) == ("Small", "llama", "Q8_0")
    assert (facts.parameters, facts.context_length, facts.layers, facts.vocabulary_size) == (288, 512, 1, 3)
    ids = [facts.header.values[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos")]
    assert (ids, facts.file_bytes, facts.files) == ([0, 1], len(DATA), (path,))
    assert facts.chat_template == model_files.CHATML


def test_a_file_that_does_not_name_its_type(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(model_files.gguf({"general.architecture": "llama"},
                                      {"a": (1, (64, 64), 8192), "b": (0, (32,), 128)}))
    facts = read_gguf(path)
    assert (facts.quantization, facts.name, facts.context_length, facts.chat_template) == ("F16", "x", 0, None)


def part(number: int, count: int = 2, **values: object) -> bytes:
    """A part of a split model: the first has the keys, each has a tensor."""
    head = {"general.architecture": "llama", "general.file_type": 15} if number == 1 else {}
    return model_files.gguf({**head, "split.no": number - 1, "split.count": count, **values},
                            {f"blk.{number}.ffn_up.weight": (12, (256, 4), 4 * 144)})


def test_a_split_model_is_one(tmp_path: Path) -> None:
    first, second = (tmp_path / f"big-0000{number}-of-00002.gguf" for number in (1, 2))
    assert "1 of the 2 parts of big is missing. big-00002-of-00002.gguf should be beside the first part." in refused(
        first, part(1))
    second.write_bytes(part(2))
    facts = read_gguf(first)
    assert (facts.files, facts.parameters) == ((first, second), 2048)
    assert facts.file_bytes == first.stat().st_size + second.stat().st_size
    assert gguf.folder_name(facts) == "big"
    assert "part 2 of 2" in refused(second)
    assert "Its name doesn't say what the others are called" in refused(first.rename(tmp_path / "sha256-12ab"))


def test_what_it_costs_to_train_one(tmp_path: Path) -> None:
    path = tmp_path / "Q.gguf"
    path.write_bytes(model_files.gguf({"general.architecture": "llama", "general.file_type": 15},
                                      {"a.weight": (12, (256, 4096), 4096 * 144)}))
    said = read_gguf(path).cost()
    assert said.startswith("Q4_K_M: its weights were rounded to about 4.5 bits each. Training continues from the ")
    assert said.endswith("Unpacked, it takes 2 MB (2 bytes per weight).")
    path.write_bytes(model_files.gguf({"general.architecture": "llama", "general.file_type": 1},
                                      {"a.weight": (1, (256, 4096), 2 * 256 * 4096)}))
    assert read_gguf(path).cost().startswith("Its weights are F16, so hardly anything of the original is lost.")


def test_a_file_without_a_name_is_known_by_its_first_letters(tmp_path: Path) -> None:
    blob, text = tmp_path / "sha256-8eeb", tmp_path / "text.gguf"
    blob.write_bytes(DATA)
    text.write_text("GGU")
    assert gguf.is_gguf(blob) and not gguf.is_gguf(text)
    assert gguf.folder_name(read_gguf(blob)) == "Small"


def test_the_starter_model(starter: Path) -> None:
    facts = read_gguf(starter)
    assert (facts.parameters, facts.quantization, facts.context_length) == (134_515_008, "Q4_1", 8192)
    assert (facts.layers, facts.vocabulary_size) == (30, 49_152)
    assert "<|im_start|>" in (facts.chat_template or "")


@pytest.mark.parametrize(("data", "words"), [
    (b"", "empty"), (b"GG", "doesn't begin"), (b"PK\x03\x04", "zip"), (b"lmgg" + bytes(40), "old GGML"),
    (b"GGUF", "truncated"), (b"GGUF" + struct.pack("<I", 4) + bytes(40), "GGUF version is 4"),
    (b"GGUF" + struct.pack("<I", 1) + bytes(40), "version 1"),
    (b"GGUF" + struct.pack(">I", 3) + bytes(40), "big-endian"),
    (model_files.gguf({"general.architecture": "llama"}, {}), "no weights"),
    (model_files.gguf({"general.architecture": "llama", "tokenizer.ggml.tokens": ["a"]}, {}),
     "contains only a vocabulary"),
    (model_files.gguf({"general.architecture": "clip"}, ONE_TENSOR), "isn't a language model"),
    (model_files.gguf({"general.type": "adapter", "general.architecture": "llama"}, ONE_TENSOR), "adapter"),
    (model_files.gguf({"general.type": "imatrix"}, ONE_TENSOR), "measurements"),
    (model_files.gguf({"general.name": "x"}, ONE_TENSOR), "doesn't name the architecture"),
    (model_files.gguf({"general.architecture": "llama", "split.no": 1, "split.count": 3}, ONE_TENSOR), "part 2 of 3"),
    (model_files.gguf({"general.architecture": "llama", "general.alignment": 24}, ONE_TENSOR), "alignment"),
    (model_files.gguf({"general.architecture": "llama"}, {"a": (99, (32,), 32)}), "type 99"),
    (model_files.gguf({"general.architecture": "llama"}, {"a": (5, (32,), 32)}), "has the type Q4_3"),
    (model_files.gguf({"general.architecture": "llama"}, {"a": (36, (32,), 32)}), "quantized to IQ4_NL"),
    (model_files.gguf({"general.architecture": "llama"}, {"a": (12, (32,), 32)}), "impossible"),
    (model_files.gguf({"general.architecture": "llama"}, {"a": (0, (1,) * 9, 4)}), "9 dimensions"),
    (model_files.gguf({"general.architecture": "llama"}, {"a": (0, (64,), 32), "b": (0, (8,), 32)}), "overlap"),
    (DATA[:-32], f"truncated: {len(DATA) - 32:,} of {len(DATA):,} bytes")])
def test_what_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refused(tmp_path / "x.gguf", data)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "It doesn't exist" in refused(tmp_path / "nowhere.gguf")
    assert "isn't a file" in refused(tmp_path)


def test_cut_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    for cut in [*range(0, len(DATA), max(1, len(DATA) // 100)), len(DATA) - 1]:
        refused(path, DATA[:cut])


def test_the_starter_cut_at_fifty_places(starter: Path, tmp_path: Path) -> None:
    size = starter.stat().st_size
    with open(starter, "rb") as file:
        head = file.read(4 * 2**20)
    path = tmp_path / "cut.gguf"
    for step in range(1, 26, 1 if tiers.full else 6):
        assert "truncated" in refused(path, head[:len(head) * step // 30])
    for step in range(1, 26, 1 if tiers.full else 6):  # a sparse file stands for the tensors
        path.write_bytes(head)
        with open(path, "r+b") as file:
            file.truncate(max(len(head), size * step // 26))
        assert "truncated" in refused(path)


@FUZZ
@given(st.lists(st.tuples(st.integers(0, len(DATA) - 300), st.integers(0, 255)), min_size=1, max_size=4))
def test_wrong_bytes_in_the_header(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(DATA)
    for at, byte in changes:
        data[at] = byte
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    try:
        facts = read_gguf(path)
    except UserError as error:
        assert error.what and error.why and error.remedy
        str(error).encode("utf-8")
    else:
        assert facts.file_bytes == len(data) and 0 < facts.parameters <= 8 * len(data)


@FUZZ
@given(st.binary(max_size=400), st.sampled_from([2, 3]))
def test_any_bytes_after_the_magic(tmp_path: Path, rest: bytes, version: int) -> None:
    refused(tmp_path / "x.gguf", b"GGUF" + struct.pack("<I", version) + rest)


def test_absurd_counts_end_at_once(tmp_path: Path) -> None:
    for tensors, keys in ((2**60, 1), (1, 2**60), (2**63, 2**63)):
        data = b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + bytes(1000)
        assert "damaged" in refused(tmp_path / "x.gguf", data)


def test_the_tables_are_those_of_the_gguf_package() -> None:
    from gguf import constants

    types = {kind.value: (kind.name, *size) for kind, size in constants.GGML_QUANT_SIZES.items()}
    assert types == {key: gguf_header.TENSOR_TYPES[key] for key in types}
    named = {kind.value: kind.name.split("_", 1)[1] for kind in constants.LlamaFileType if kind.name != "GUESSED"}
    assert named == {key: gguf.FILE_TYPES[key] for key in named}
