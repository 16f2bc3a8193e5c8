"""Every family, and tokenizers that llama.cpp's converter never saw, keep their tokens in the file, or are refused."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from support import gguf_models as models
from support import more_layouts, tiers
from support.family_models import FAMILIES
from support.tiers import first_fast

from slmstudio.core.errors import UserError
from slmstudio.worker.model.gguf_vocabulary import (
    IGNORE_MERGES,
    PRE_TOKENIZERS,
    cuts_alike,
    name_of,
    nearest_to,
    strings,
)

pytestmark = pytest.mark.timeout(900)
TYPES = ("F16", "Q8_0", "Q4_K_M")


def export(folder: Path, out: Path, *types: str) -> dict[str, dict]:
    """Proofs by type."""
    from slmstudio.worker.export import export as exporting

    made = exporting.run(models.context(out / "job", run=str(folder), types=list(types), out=str(out)))
    return {file["type"]: file["parity"] for file in made["files"]}


def test_the_fixed_texts_are_many_different_and_of_many_scripts() -> None:
    texts = strings()
    assert len(texts) == len(set(texts)) >= 1000
    scripts = {unicodedata.name(char, "").split(" ")[0] for text in texts for char in text if char.isalpha()}
    assert {"DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "GUJARATI", "GURMUKHI", "ORIYA",
            "ARABIC", "LATIN", "CYRILLIC", "GREEK", "HEBREW", "THAI", "CJK", "HIRAGANA", "KATAKANA",
            "HANGUL"} <= scripts
    whole = "".join(texts)
    for needed in ("\u200d", "\u200c", "\u200f", "\r\n", "\u093c", "👨\u200d👩", "₹", "<|im_end|>", "\u095b", "१२३"):
        assert needed in whole
    assert any(text != unicodedata.normalize("NFC", text) for text in texts)


def test_the_file_is_what_its_script_writes() -> None:
    import runpy

    from slmstudio.core import paths

    folder = paths.resources() / "parity"
    script = runpy.run_path(str(folder / "make_strings.py"))
    known = json.loads((folder / "phrases.json").read_text(encoding="utf-8"))
    assert tuple(script["all_strings"](known)) == strings()


@pytest.mark.parametrize("family", first_fast(["llama3", *(family for family in FAMILIES if family != "llama3")]))
def test_every_family_passes_in_every_type(families, tmp_path, family) -> None:
    run = models.run_folder(families / family, tmp_path)
    types = TYPES if tiers.full else TYPES[::2]
    proofs = export(run, tmp_path / "out", *types)
    assert list(proofs) == list(types)
    for proof in proofs.values():
        assert proof["passed"], proof["failures"]
        assert proof["token_ids_equal"] and proof["prompts"] > 1000 and proof["texts"] > 2000
        assert proof["adapter_strength"] == pytest.approx(1, abs=0.1)
    assert proofs["F16"]["nmse"] < 1e-4 and proofs["F16"]["top1"] >= 0.99
    errors = [proofs[name]["nmse"] for name in types]
    assert errors == sorted(set(errors))


def extended(folder: Path, *tokens: object, special: tuple[str, ...] = ()) -> Path:
    """The tiny model with tokens added to its tokenizer and rows to its embeddings."""
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    base = models.tiny()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    tokenizer.add_tokens(list(tokens))
    tokenizer.add_tokens(list(special), special_tokens=True)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shutil.copy(base / "chat_template.jinja", folder)
    return folder


@pytest.mark.full
def test_an_extended_tokenizer(tmp_path) -> None:
    base = extended(tmp_path / "base", "पासपोर्ट", "आवेदन पत्र", "Aadhaar", "₹₹", "தமிழ்நாடு",
                    special=("<|tool|>", "<|हिन्दी|>"))
    proof = export(base, tmp_path / "out", "F16")["F16"]
    assert proof["passed"], proof["failures"]
    assert proof["prompts"] > len(strings()) + 7 * 7


@pytest.mark.full
def test_an_added_token_that_llama_cpp_treats_otherwise_is_caught(tmp_path) -> None:
    """It knows no token that counts as a whole word only. The file is kept, and marked."""
    from tokenizers import AddedToken

    base = extended(tmp_path / "base", AddedToken("cat", single_word=True))
    proof = export(base, tmp_path / "out", "F16")["F16"]
    [tokens] = [check for check in proof["checks"] if check["passed"] is False]
    assert not proof["passed"] and tokens["name"] == "tokens" and "cat" in tokens["remedy"]
    assert len(list((tmp_path / "out").glob("*.gguf"))) == 1


def trained(folder: Path, pre_tokenizer, **model: object) -> Path:
    """The tiny model with a tokenizer of its own, trained on the fixed texts."""
    import torch
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE(**model))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    tokenizer.train_from_iterator(strings(), trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.save_pretrained(folder)
    shutil.copy(models.tiny() / "chat_template.jinja", folder)
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(
        vocab_size=2000, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True)).save_pretrained(folder)
    return folder


def cutters():
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

    plain = ByteLevel(add_prefix_space=False)
    # Spelled otherwise than in the table, and cutting alike.
    qwen = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
            r"|\s+(?!\S)|\s+")
    return {"gpt-2": plain, "smollm": Sequence([Digits(individual_digits=True), Digits(individual_digits=True), plain]),
            "qwen2": Sequence([Split(Regex(qwen), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])}


@pytest.mark.full
@pytest.mark.parametrize("name", ["gpt-2", "smollm", "qwen2"])
def test_a_tokenizer_trained_from_scratch(tmp_path, name) -> None:
    base = trained(tmp_path / "base", cutters()[name])
    assert name_of(json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))["pre_tokenizer"]) == name
    proof = export(base, tmp_path / "out", "F16")["F16"]
    assert proof["passed"], proof["failures"]


def test_a_cut_that_llama_cpp_does_not_have_is_refused(tmp_path) -> None:
    from tokenizers.pre_tokenizers import ByteLevel, Punctuation, Sequence

    base = trained(tmp_path / "base", Sequence([Punctuation("contiguous"), ByteLevel(add_prefix_space=False)]))
    with pytest.raises(UserError, match="can't become a GGUF") as caught:
        export(base, tmp_path / "out", "F16")
    assert "pre-tokenizer" in caught.value.why
    assert list((tmp_path / "out").glob("*.gguf")) == []


def test_a_spelling_of_the_table_keeps_its_name() -> None:
    for name, spelling in PRE_TOKENIZERS.items():
        found = name_of(spelling, name in IGNORE_MERGES)
        assert found is not None and PRE_TOKENIZERS[found] == spelling
        assert (found in IGNORE_MERGES) == (name in IGNORE_MERGES)
    assert name_of(None) is None


def cut(pattern: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, PRE_TOKENIZERS["tekken"]["pretokenizers"][-1]]}


def test_what_stands_in_for_phi_4_minis_cut_keeps_indian_words_whole() -> None:
    """llama.cpp's "gpt-4o", which the converter would name, cuts them at their vowel signs."""
    phi, mistral = cut(more_layouts.O200K_CUT), cut(more_layouts.TEKKEN_CUT)
    assert not cuts_alike("gpt-4o", phi) and name_of(phi) is None
    by_merges = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    assert nearest_to(phi, by_merges) == "granite-embed-multi-97m"
    assert name_of(mistral, True) is None and nearest_to(mistral, {**by_merges, "ignore_merges": True}) is None


def test_what_stands_in_takes_whole_words_as_the_model_does() -> None:
    """It ignores the merges: a vocabulary with words that its own merges never make would get other tokens."""
    phi = cut(more_layouts.O200K_CUT)
    no_way = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": []}
    assert nearest_to(phi, no_way) is None
    assert nearest_to(phi, {**no_way, "ignore_merges": True}) == "granite-embed-multi-97m"
