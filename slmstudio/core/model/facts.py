"""What a model folder is: read from config.json and the headers of its weight files, without loading anything."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.model import folder_entries, model_settings
from slmstudio.core.model.architecture import (
    LABELS,
    USUAL,
    class_names,
    family_label,
    missing_tensors,
    why_no_language_model,
)
from slmstudio.core.model.chat_template import find_template, tokenizer_config
from slmstudio.core.model.json_files import printable, put_own, read_json_object, reported
from slmstudio.core.model.weights import Tensor, Weights, read_weights

# -- Which licence a model folder names.

_LICENCES = {
    "apache-2.0": "Apache-2.0", "mit": "MIT", "gemma": "Gemma", "llama2": "Llama 2", "llama3": "Llama 3",
    "llama3.1": "Llama 3.1", "llama3.2": "Llama 3.2", "llama3.3": "Llama 3.3", "bsd-3-clause": "BSD-3-Clause",
    "apache license": "Apache-2.0", "mit license": "MIT", "the mit license": "MIT",
}


def read_licence(folder: Path, config: dict[str, Any]) -> str | None:
    """The licence's name: from README.md's front matter, else the LICENSE file's first line, else config.json."""
    front = _front_matter(folder / "README.md")
    named = front.get("license_name") if front.get("license") in (None, "other", "unknown") else front.get("license")
    if not named:
        named = next((line for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
                      if (line := _first_line(folder / name))), None)
    if not named and isinstance(config.get("license"), str):
        named = config["license"]
    return _LICENCES.get(named.lower(), printable(named)) if named else None


def _start_of(path: Path) -> str:
    try:
        with open(path, "rb", opener=files.regular) as file:
            return file.read(65_536).decode("utf-8", "replace")
    except OSError:
        return ""  # A licence that can't be read is a licence that isn't known.


def _first_line(path: Path) -> str:
    return next((line.strip(" #*=-\t\r") for line in _start_of(path).split("\n") if line.strip(" #*=-\t\r")), "")


def _front_matter(path: Path) -> dict[str, str]:
    """The plain `key: value` lines of the YAML block that model cards begin with."""
    match = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\n---[ \t]*\r?(?:\n|$)", _start_of(path), re.DOTALL)
    lines = match[1].splitlines() if match else []
    pairs = (re.match(r"([A-Za-z_]+):[ \t]*(.+?)[ \t]*$", line) for line in lines)
    return {pair[1]: pair[2].strip("'\"") for pair in pairs if pair}


CONTEXT_IF_UNKNOWN = 2048
_SIZES = {
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "head_dim": ("head_dim",),
    "vocabulary_size": ("vocab_size",),
    "context_length": ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length",
                       "max_seq_len"),
}
"""A model's sizes, and the names under which families write them in config.json."""
_CONTEXT = {"gemma3_text": 131_072}
"""Gemma 3's files leave out what equals the default of transformers' Gemma3TextConfig."""


@dataclass(frozen=True)
class ModelFacts:
    """A base model that can be trained.

    Attributes:
        name: the folder's name, or the hub's name when the folder is one of the hub's cache.
        family: what people call it: Llama, Qwen2, Phi-3 ...
        architecture: the class that config.json names.
        parameters: counted from the weight files; a head tied to the embeddings counts once.
        context_length: tokens; 2,048 where the folder doesn't say.
        vocabulary_size: rows of the embedding table.
        tied_embeddings: whether the head shares the embeddings' weights.
        dtype: number format that holds most of the weights: bf16, fp16, fp32, nf4, int8 ...
        licence: as the model names it; None if it doesn't.
        quantization: "bitsandbytes 4-bit" or "bitsandbytes 8-bit"; None for plain weights.
        model_type: config.json's name of the architecture.
    """

    path: Path
    name: str
    family: str
    architecture: str
    parameters: int
    context_length: int
    vocabulary_size: int
    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_dim: int
    tied_embeddings: bool
    dtype: str
    licence: str | None
    disk_bytes: int
    has_chat_template: bool
    quantization: str | None
    model_type: str


AREAS = ("files", "code", "config", "weights", "tokenizer", "template")
"""What is looked at in a folder, in this order."""


@dataclass
class Examined:
    """What a look at a model folder has found.

    Attributes:
        facts: what the model is; None if that can't be told.
        problems: by one of `AREAS`, why the folder is refused.
        warnings: what is worth knowing, and no reason to refuse it.
        weights: the tensors; None if files are missing or wrong.
        config: config.json, with the text model's part on top.
    """

    facts: ModelFacts | None = None
    problems: dict[str, list[Problem]] = field(default_factory=lambda: {area: [] for area in AREAS})
    warnings: list[str] = field(default_factory=list)
    weights: Weights | None = None
    config: dict[str, Any] | None = None

    def all_problems(self) -> list[Problem]:
        return [problem for area in AREAS for problem in self.problems[area]]


def read_model(folder: Path | str) -> ModelFacts:
    """Read what a model folder is, and check that it is whole and that nothing in it leads elsewhere.

    Raises:
        UserError: it isn't the folder of a trainable model, or something is missing or damaged; `problems` names
            everything that is wrong, when it is more than one thing.
    """
    folder = Path(folder)
    examined = examine(folder)
    problems = examined.all_problems()
    if examined.facts is None or problems:
        raise refusal(model_name(folder), problems)
    return examined.facts


def refusal(name: str, problems: list[Problem]) -> UserError:
    """What a user reads of a folder that can't be used: all that is wrong with it."""
    what = tr("{name} can't be used as a base model.", name=name)
    remedy = tr("Fix the folder, or choose another model.")
    if len(problems) == 1:
        return UserError(what, problems[0].message, remedy)
    return UserError(what, tr("{count} things are wrong with the folder.", count=len(problems)), remedy, problems)


def examine(folder: Path) -> Examined:
    """All that a look at a model folder tells without loading anything of it.

    Raises:
        UserError: it isn't a folder of a base model, or can't be read.
    """
    found = Examined()
    problems = found.problems
    with os_errors_as(tr("Could not read the model folder.")):
        folder_entries.need_folder(folder, model_name(folder))
        names = folder_entries.check_entries(folder, problems["files"], found.warnings)
        if problems["files"]:
            return found
        folder_entries.need_base_model(folder, model_name(folder), names)
        folder_entries.check_references(folder, names, problems["code"], found.warnings)
        found.config = _read_config(folder, problems["config"])
        found.weights = read_weights(folder, problems["weights"])
        folder_entries.check_tokenizer_file(folder, problems["tokenizer"])
        model_settings.check_tokenizer_config(reported([], tokenizer_config, folder) or {}, problems["tokenizer"])
        template = reported(problems["template"], find_template, folder) is not None  # it reads that file too
        if found.config and not problems["config"] and found.weights:
            found.facts = _facts(folder, model_name(folder), found.config, found.weights, template, problems["config"])
    return found


def model_name(folder: Path) -> str:
    """The name people know: in the hub's cache, models--ORG--NAME/snapshots/HASH, that is NAME."""
    cache = folder.parent.parent.name if folder.parent.name == "snapshots" else ""
    return printable(cache.split("--")[-1] if cache.startswith("models--") else folder.absolute().name or str(folder))


def _read_config(folder: Path, problems: list[Problem]) -> dict[str, Any] | None:
    """config.json with the text model's part on top, or None and the reasons."""
    if not (folder / "config.json").is_file():
        problems.append(Problem(tr("config.json is missing, so the architecture is unknown.")))
        return None
    config = reported(problems, read_json_object, folder / "config.json")
    if config is None:
        return None
    if why := why_no_language_model(config):
        problems.append(Problem(why, field="model_type"))
        return None
    model_settings.check_numbers(config, problems)
    text = config.get("text_config")
    # Models that also see or hear keep the language model's sizes one level deeper.
    if isinstance(text, dict):
        kind = text.get("model_type")
        config = {**config, **text, "architectures": config.get("architectures"),
                  "model_type": kind if isinstance(kind, str) else config["model_type"]}
    model_settings.check_kinds(config, problems)
    return config


def _facts(folder: Path, name: str, config: dict[str, Any], found: Weights, template: bool,
           problems: list[Problem]) -> ModelFacts | None:
    model_type: str = config["model_type"]
    before = len(problems)
    quantization = _quantization(config, problems)
    embedding = None if quantization else found.embedding()
    sizes = _sizes(folder, config, model_type, embedding)
    needed = ("hidden_size", "layers", "heads", "vocabulary_size", *(["intermediate_size"] * (model_type in USUAL)))
    missing = [key for key in needed if not sizes.get(key)]
    if missing:
        problems += [Problem(tr("config.json has no usable value for {key}.", key=_SIZES[key][0]),
                             field=_SIZES[key][0])
                     for key in missing]
        return None
    hidden = sizes["hidden_size"]
    # OPT alone, of the families with a label, has embeddings of another width than its layers.
    if embedding and hidden != embedding.shape[1] and model_type in LABELS and model_type != "opt":
        problems.append(Problem(tr("config.json and the weights don't belong together: the hidden size is {hidden:,} "
                                   "in one and {held:,} in the other.", hidden=hidden, held=embedding.shape[1]),
                                field="hidden_size"))
    held = found.layers()
    if held is not None and held < sizes["layers"]:
        problems.append(Problem(tr("config.json promises {layers} layers, but the weights contain {held}.",
                                   layers=sizes["layers"], held=held), field="num_hidden_layers"))
    elif len(problems) == before and (said := missing_tensors(config, sizes, found, bool(quantization))):
        problems.append(Problem(said))
    usual = USUAL[model_type].pad_token_id if model_type in USUAL and "pad_token_id" not in config else None
    if usual is not None and usual >= sizes["vocabulary_size"]:
        said = tr("config.json has no pad_token_id. This family's usual one is {id:,}, but the embeddings have "
                  "{rows:,} rows.", id=usual, rows=sizes["vocabulary_size"])
        problems.append(Problem(f"{said} {put_own('config.json')}", field="pad_token_id"))
    model_settings.check_weights(model_type, sizes, found, bool(quantization), problems)
    tie = config.get("tie_word_embeddings")
    tied = tie if isinstance(tie, bool) else found.head() is None
    architecture = next(iter(class_names(config)), model_type)
    return ModelFacts(
        path=folder, name=name, family=family_label(model_type, name), architecture=printable(architecture),
        parameters=found.parameters(tied), context_length=sizes["context_length"],
        vocabulary_size=sizes["vocabulary_size"], layers=sizes["layers"], hidden_size=hidden,
        intermediate_size=sizes.get("intermediate_size") or 4 * hidden, heads=sizes["heads"],
        kv_heads=sizes.get("kv_heads") or sizes["heads"],
        head_dim=sizes.get("head_dim") or max(1, hidden // sizes["heads"]),
        tied_embeddings=tied, dtype=found.dtype(), licence=read_licence(folder, config), disk_bytes=found.disk_bytes,
        has_chat_template=template, quantization=quantization, model_type=model_type)


def _sizes(folder: Path, config: dict[str, Any], model_type: str, embedding: Tensor | None) -> dict[str, int]:
    """The sizes that can be known, from config.json, the family's defaults, the weights and the tokenizer."""
    def sane(value: Any) -> bool:
        return type(value) is int and 0 < value < 2**40

    sizes = USUAL[model_type].sizes() if model_type in USUAL else {}
    if model_type in _CONTEXT:
        sizes["context_length"] = _CONTEXT[model_type]
    for key, names in _SIZES.items():
        value = next((config[name] for name in names if sane(config.get(name))), None)
        if value is not None:
            sizes[key] = value
        elif any(name in config for name in names):  # null isn't the same as nothing: it stays
            sizes.pop(key, None)
    if embedding and model_type not in USUAL:
        sizes.setdefault("vocabulary_size", embedding.shape[0])
        sizes.setdefault("hidden_size", embedding.shape[1])
    if "context_length" not in sizes:
        limit = (reported([], tokenizer_config, folder) or {}).get("model_max_length")
        sizes["context_length"] = limit if type(limit) is int and 0 < limit <= 10_000_000 else CONTEXT_IF_UNKNOWN
    return sizes


def _quantization(config: dict[str, Any], problems: list[Problem]) -> str | None:
    """How the weights are packed. Only bitsandbytes' packing can be trained on; others are refused."""
    settings = config.get("quantization_config")
    if not isinstance(settings, dict):
        return None
    if why := refused_quantization(config):
        problems.append(Problem(why, field="quantization_config"))
        return None
    return f"bitsandbytes {4 if settings.get('load_in_4bit') else 8}-bit"


def refused_quantization(config: dict[str, Any]) -> str | None:
    """Why the weights that a config.json describes are packed in a way that can't be trained on, or None."""
    settings = config.get("quantization_config")
    if not isinstance(settings, dict) or settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return None
    method = settings.get("quant_method")
    if method == "bitsandbytes":
        return None
    if isinstance(method, str):
        return tr("The weights are quantized with {method}, so they can't be trained. Choose the model's original, "
                  "unquantized version.", method=printable(method))
    return tr("The weights are quantized in a way that isn't named, so they can't be trained. Choose the model's "
              "original, unquantized version.")
