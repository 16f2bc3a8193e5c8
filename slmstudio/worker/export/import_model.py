"""Turns a GGUF file into a base model folder that can be trained: safetensors in bf16, tokenizer, template, config.

Request: {"kind": "import", "gguf": path, of a split model its first part, "out": folder, "name": shown in the model
card, optional, "beside": files that are copied into the folder, as a licence, optional}.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space, files, formats, leftovers, llama
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.gguf.header import read_header
from slmstudio.core.model.gguf.model import GgufFacts, read_sound_gguf
from slmstudio.core.units import format_bytes
from slmstudio.worker.model import gguf_vocabulary
from slmstudio.worker.model.gguf_vocabulary import (
    BESIDE_MARKER,
    CONTROL,
    IGNORE_MERGES,
    NORMALIZER_KEY,
    PHI3,
    PRE_TOKENIZERS,
    PREPEND_KEY,
    UNKNOWN,
    USER_DEFINED,
)
from slmstudio.worker.runtime.context import JobContext

# -- The tokenizer of a GGUF file as a Hugging Face one: it cuts text as llama.cpp does with that file, and as the
# model's own tokenizer did where an export of ours says how.

_KEEPS_SPACE = ("<unk>", "<s>", "<|endoftext|>")
"""Special tokens of Phi-3 behind which llama.cpp doesn't strip white space."""


def read_tokenizer(source: Path, values: Mapping[str, Any]) -> Any:
    """transformers' tokenizer, without what its classes would add.

    Args:
        values: the file's scalars and texts, by key.

    Raises:
        UserError: the pre-tokenizer isn't known here, so every text would be split by guesswork.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    architecture, found, config = get_gguf_tokenizer(str(source))
    found["tokens"] = _as_merged(found)
    backend, _ = convert_gguf_tokenizer(architecture, found)
    state = json.loads(backend.to_str())
    _add_tokens(state, found, str(values.get("general.name", "")))
    if found["tokenizer_type"] == "gpt2":
        state |= _byte_level(values, source.name)
        state["model"]["ignore_merges"] = values.get("tokenizer.ggml.pre") in IGNORE_MERGES
    elif found["tokenizer_type"] == "llama":
        state |= _sentencepiece(values)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), **config)


def _as_merged(found: Mapping[str, Any]) -> list[str]:
    """The tokens as the merges make them: an export writes some with a space behind them (`BESIDE_MARKER`)."""
    tokens, made = list(found["tokens"]), {"".join(merge.split(" ")) for merge in found.get("merges", ())}
    for missing in made - set(tokens):
        if missing + BESIDE_MARKER in tokens:
            tokens[tokens.index(missing + BESIDE_MARKER)] = missing
    return tokens


def _add_tokens(state: dict[str, Any], found: Mapping[str, Any], name: str) -> None:
    """Let the tokens be found in a text before it is cut that llama.cpp finds there, and no others."""
    strips = PHI3.search(name) is not None
    types = found.get("token_type") or ()
    kinds = {number: kind for number, kind in enumerate(types) if kind in (UNKNOWN, CONTROL, USER_DEFINED)}
    texts = {number: found["tokens"][number] for number in kinds}
    if not kinds:
        return
    vocabulary = {text: number for text, number in state["model"]["vocab"].items() if number not in kinds}
    vocabulary |= {text: number for number, text in texts.items()}
    state["model"]["vocab"] = vocabulary
    # What is found before a text is cut needs no merges, and those of Gemma's runs of spaces name it in another way.
    state["model"]["merges"] = [pair for pair in state["model"]["merges"]
                                if vocabulary.keys() >= {*pair, "".join(pair)}]
    state["added_tokens"] = [
        {"id": number, "content": text, "single_word": False, "lstrip": False, "normalized": False,
         "special": kinds[number] != USER_DEFINED,
         "rstrip": strips and kinds[number] != USER_DEFINED and text not in _KEEPS_SPACE}
        for number, text in texts.items()]


def _byte_level(values: Mapping[str, Any], file_name: str) -> dict[str, Any]:
    name = values.get("tokenizer.ggml.pre", "default")
    if name not in PRE_TOKENIZERS:
        raise UserError(tr("The tokenizer of {file} is of an unsupported kind.", file=file_name),
                        tr("Its pre-tokenizer is {name!r}. This program knows {names}.", name=name,
                           names=", ".join(PRE_TOKENIZERS)),
                        tr("Use the model's original folder with its tokenizer.json."))
    form = values.get(NORMALIZER_KEY)
    return {"pre_tokenizer": PRE_TOKENIZERS[name], "normalizer": {"type": form} if form else None}


def _sentencepiece(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spaces as the model's own tokenizer had them, or as llama.cpp does: in front of every stretch, or nowhere."""
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    in_front = values.get("tokenizer.ggml.add_space_prefix", True)
    if scheme := values.get(PREPEND_KEY):
        in_front = scheme != "never"
        steps: dict[str, Any] = {"normalizer": None, "pre_tokenizer": {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}}
    else:
        prepend = [{"type": "Prepend", "prepend": "▁"}] if in_front else []
        steps = {"normalizer": {"type": "Sequence", "normalizers": [*prepend, spaces]}, "pre_tokenizer": None}
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if in_front else []
    return steps | {"decoder": {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        *strip]}}


SOURCE = "source.json"
"""In the folder: which GGUF it was made from, so that importing it again only takes a check."""


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        `{"folder": path, "reused": whether it was already there, "bytes": size of the weights}`.

    Raises:
        UserError: the GGUF can't be read, its architecture or pre-tokenizer is unknown, or the folder is taken.
    """
    source, target = Path(job.request["gguf"]), Path(job.request["out"])
    job.phase("reading", source.name)
    facts = read_sound_gguf(source)
    fingerprint = {**formats.stamp("import"), "gguf": source.name, "sha256": _digest(facts),
                   "quantization": facts.quantization}
    if target.exists():
        return _reuse(target, fingerprint)
    _check_space(target, facts)
    partial = leftovers.of_import(target, os.getpid())
    leftovers.remove_dead(target.parent.glob(f".{glob.escape(target.name)}.*.partial"))  # of imports that were killed
    try:
        with disk_space.full_as_os_error(target.parent):  # before what is half done is removed
            partial.mkdir(parents=True)
            licence = _convert(job, facts, partial)
            for path in job.request.get("beside", ()):
                shutil.copy(path, partial)
            _write_card(partial, facts, job.request.get("name") or target.name, licence)
            files.write_atomically(partial / SOURCE, files.dump_pretty(fingerprint))
            for path in partial.iterdir():
                with open(path, "rb+", opener=files.regular) as file:
                    os.fsync(file.fileno())
        job.check_cancelled()
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    files.fsync_folder(target.parent)
    return result(target, reused=False)


def _digest(facts: GgufFacts) -> str:
    """SHA-256 of the file; of a split model, of its parts' digests."""
    digests = [files.sha256_of(path) for path in facts.files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _reuse(target: Path, fingerprint: dict[str, Any]) -> dict[str, Any]:
    known = formats.read("import", target / SOURCE) or {}
    if known.get("sha256") != fingerprint["sha256"]:
        raise UserError(tr("{folder} already exists.", folder=target), tr("It wasn't made from this GGUF file."),
                        tr("Choose another folder or name."))
    return result(target, reused=True)


def result(target: Path, reused: bool) -> dict[str, Any]:
    size = sum(file.stat().st_size for file in target.glob("*.safetensors"))
    return {"folder": str(target), "reused": reused, "bytes": size}


def _check_space(target: Path, facts: GgufFacts) -> None:
    """Space for the unpacked weights, and some megabytes for the tokenizer."""
    need = facts.unpacked_bytes + 32 * 2**20
    if (have := disk_space.free(target)) < need:
        raise UserError(tr("There isn't enough space on the disk for the model."),
                        tr("It takes {size}, but only {free} is free.", size=format_bytes(need),
                           free=format_bytes(have)),
                        tr("Free some space, or choose another disk."))


def _convert(job: JobContext, facts: GgufFacts, folder: Path) -> str:
    """Write the model into `folder`; returns its licence as named in the file."""
    source = facts.path
    gguf_file = str(source.absolute())  # and of an empty folder: files beside it must not decide what is loaded
    os.environ["TQDM_DISABLE"] = "1"  # a progress bar for every tensor in worker.log is of no use
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    from slmstudio.worker.model import base_weights

    _parse_once(facts.files)
    job.check_cancelled()
    job.phase("weights", tr("unpacking them to bf16"))
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=gguf_file, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16,
            local_files_only=True, trust_remote_code=False, **base_weights.REPORT)
    except (ValueError, NotImplementedError, KeyError) as error:
        raise UserError(tr("{file} can't be converted into a model that can be trained.", file=source.name),
                        tr("transformers says: {message}", message=error),
                        tr("Use the model's original folder with safetensors files.")) from error
    base_weights.need_all(report, source.name)
    job.check_cancelled()
    job.phase("tokenizer", tr("rebuilding and checking it"))
    values = read_header(source).values
    _write_tokenizer(job, source, values, folder, model.config.max_position_embeddings)
    job.check_cancelled()
    job.phase("writing")
    model.save_pretrained(folder)
    _correct_json(folder / "config.json", drop=("_model_name_or_path",), change=_shortest_floats)
    _correct_json(folder / "generation_config.json", drop=("_from_model_config",))
    for weights in folder.glob("*.safetensors"):  # unlike the other files they are written for the owner alone
        shutil.copymode(folder / "config.json", weights)
    return str(values.get("general.license", "unknown"))


def _parse_once(parts: tuple[Path, ...]) -> None:
    """transformers parses the GGUF for the config, the weights and the tokenizer, and maps names once per module.

    Remembering both takes the import of the starter model from 15 s to 5 s. Of a split model, transformers reads only
    the first part, which has everything except the other parts' tensors.
    """
    import gguf
    from gguf.gguf_reader import GGUFReader

    @functools.lru_cache(maxsize=2)
    def read(path: Any, *mode: Any) -> GGUFReader:
        reader = GGUFReader(path, *mode)
        reader.fields.pop("general.name", None)  # "mistral" leads transformers to an architecture that gguf lacks
        if Path(path) == parts[0]:
            reader.tensors += [tensor for part in parts[1:] for tensor in GGUFReader(part).tensors]
        return reader

    gguf.GGUFReader = read
    if not hasattr(gguf.get_tensor_name_map, "cache_info"):
        gguf.get_tensor_name_map = functools.lru_cache(maxsize=2)(gguf.get_tensor_name_map)


def _write_tokenizer(job: JobContext, source: Path, values: dict[str, Any], folder: Path, context_length: int) -> None:
    """tokenizer.json and its config, checked against the ids that llama.cpp gives for the same file, if llama.cpp is
    available.

    Args:
        values: the file's scalars and texts, by key.
    """
    tokenizer = read_tokenizer(source, values)
    if llama.trouble() is None:
        _prove(tokenizer, source)
    else:
        job.warn("tokenizer_unproven", tr("The tokenizer was rebuilt as the file describes it. It wasn't compared with "
                                          "llama.cpp, which isn't set up."))
    tokenizer.save_pretrained(folder)
    # The plain class takes tokenizer.json as it is; a model's own class would rebuild the pre-tokenizer.
    dropped = ("is_local", "local_files_only", "backend", "add_prefix_space")
    _correct_json(folder / "tokenizer_config.json", drop=dropped,
                  change=lambda config: {**config, "tokenizer_class": "PreTrainedTokenizerFast",
                                         "clean_up_tokenization_spaces": False, "model_max_length": context_length})


def _prove(tokenizer: Any, source: Path) -> None:
    """Compare the ids of texts as they are in a conversation, behind a special token.

    Raises:
        UserError: some aren't those that llama.cpp gives.
    """
    from slmstudio.worker.model.llama_gguf import LlamaGguf, LlamaVocab

    model = LlamaGguf(source, vocab_only=True)
    try:
        vocab, in_front = LlamaVocab(model), tokenizer.eos_token or ""
        different = gguf_vocabulary.differing(
            gguf_vocabulary.PROBES, lambda text: tokenizer(in_front + text, add_special_tokens=False)["input_ids"],
            lambda text: vocab.encode(in_front + text))
    finally:
        model.close()
    if different:
        raise UserError(tr("The tokenizer of {file} couldn't be rebuilt exactly.", file=source.name),
                        tr("{count} of {total} texts get different token ids, such as {example!r}.",
                           count=len(different), total=len(gguf_vocabulary.PROBES), example=different[0]),
                        tr("Use the model's original folder with its tokenizer.json."))


def _correct_json(path: Path, drop: tuple[str, ...], change: Any = lambda value: value) -> None:
    value = {key: entry for key, entry in json.loads(files.read_text(path)).items() if key not in drop}
    files.write_atomically(path, files.dump_pretty(change(value)))


def _shortest_floats(config: dict[str, Any]) -> dict[str, Any]:
    """A GGUF holds float32: 9.999999747378752e-06 was 1e-05 when the model was made."""
    import numpy as np

    return {key: float(str(np.float32(value))) if isinstance(value, float) else value for key, value in config.items()}


def _write_card(folder: Path, facts: GgufFacts, name: str, licence: str) -> None:
    files.write_atomically(folder / "README.md", (
        f"---\nlicense: {licence}\n---\n\n# {name}\n\n"
        f"{facts.name}, made trainable from the GGUF file {facts.path.name} ({facts.quantization}): its weights were "
        "unpacked to bf16. They carry the rounding of that file, so they differ slightly from the original's.\n\n"
        f"Licence: {licence}. It is the base model's; what you train on it stays under its terms.\n"))
