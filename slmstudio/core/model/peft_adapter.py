"""A LoRA adapter as PEFT writes it, made by any program: read without loading it, cleaned, and held against a base.

Nothing of it is believed: adapter_config.json may name modules to import, patterns that are regular expressions, and
ways to change the base's own weights. What is kept of it is what is known here; what would be lost is refused.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.errors import Problem, UserError, os_errors_as
from slmstudio.core.i18n import ntr, number_text, tr
from slmstudio.core.model import folder_entries
from slmstudio.core.model import weights as weight_files
from slmstudio.core.model.architecture import summed_up
from slmstudio.core.model.facts import model_name, read_model
from slmstudio.core.model.json_files import is_quick, printable, read_json_object
from slmstudio.core.model.weights import Tensor, read_header

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
A, B, MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"
_KEPT = ("r", "lora_alpha", "lora_dropout", "fan_in_fan_out", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern",
         "modules_to_save")
"""What decides how the adapter's tensors change the base."""
_OF_THE_TENSORS = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
"""Which layers learn: the tensors tell that better."""
_WITHOUT_EFFECT = ("peft_type", "task_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
                   "auto_mapping", "bias", "init_lora_weights", "eva_config", "runtime_config", "megatron_core",
                   "qalora_group_size", "loftq_config")
"""Looked at by themselves, or of no effect on weights that are trained already."""
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""`init_lora_weights` that leave the base's own weights alone."""
_PATTERN = re.compile(r"\^?[\w.]+\$?")
_HELD = ("F32", "F16", "BF16")
_NAMED_SHOWN = 5


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter that can be put on a base.

    Attributes:
        base_named: what adapter_config.json calls its base, or None.
        rank, alpha: as of most of its layers.
        shapes: the base's tensors that it changes, with the shape that each must have.
        whole: those of them that it replaces (`modules_to_save`).
        config: a clean adapter_config.json without the base, in which nothing leads to code.
    """

    path: Path
    base_named: str | None
    rank: int
    alpha: float
    shapes: dict[str, tuple[int, ...]]
    whole: frozenset[str]
    config: dict[str, Any]

    @property
    def name(self) -> str:
        return model_name(self.path)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and no model beside it."""
    return (folder / CONFIG).is_file() and not any(
        (folder / name).is_file() for name in (weight_files.SINGLE, weight_files.INDEX))


def read_adapter(folder: Path) -> PeftAdapter:
    """
    Raises:
        UserError: it isn't a LoRA adapter, is damaged, or does what isn't known here; `problems` names everything.
    """
    what = tr("The adapter {name} can't be used.", name=printable(folder.name))
    _need_files(folder, what)
    config = read_json_object(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise UserError(what, tr("It is an adapter of type {kind!r}.", kind=printable(str(config.get("peft_type")))),
                        tr("LoRA, rank-stabilised LoRA and DoRA adapters can be used."))
    problems = _problems_of(config)
    shapes, whole, ranks = _changes(read_header(folder / WEIGHTS), config, problems)
    if problems:
        raise UserError(what, "",
                        tr("Use an adapter that only changes linear layers, or merge it into its base with the program "
                           "that made it."), problems)
    named = config.get("base_model_name_or_path")
    rank = ranks.most_common(1)[0][0]
    return PeftAdapter(folder, printable(named, 200) if isinstance(named, str) and named else None, rank,
                       float(config["lora_alpha"]), shapes, frozenset(whole), _clean(config, shapes, whole))


def of_another_base(why: str) -> UserError:
    """What to say where an adapter and a base model don't fit together."""
    return UserError(tr("The adapter doesn't belong to this base model."), why,
                     tr("Choose the base model that the adapter was trained on."))


def need_loadable(folder: Path) -> None:
    """Check that PEFT can be given an adapter's folder: it would open a pickle, and match every layer's name with each
    regular expression that adapter_config.json holds, however long that takes.

    Raises:
        UserError: it can't.
    """
    what = tr("The adapter {name} can't be used.", name=printable(folder.name))
    _need_files(folder, what)
    read_header(folder / WEIGHTS)
    config = read_json_object(folder / CONFIG)
    slow = [key for key in ("target_modules", "exclude_modules", "layers_pattern", "rank_pattern", "alpha_pattern")
            if not all(map(is_quick, _patterns(config.get(key))))]
    if slow:
        raise UserError(what, "",
                        tr("Import the adapter's folder as a model, which takes its layers from its weights."),
                        [Problem(tr("It is a regular expression that may take forever."), field=key) for key in slow])


def _need_files(folder: Path, what: str) -> None:
    problems: list[Problem] = []
    with os_errors_as(what):
        folder_entries.check_entries(folder, problems, [])
    if problems:
        raise UserError(what, "", tr("Fix these problems."), problems)
    if (folder / WEIGHTS).is_file():
        return
    pickled = [name for name in ("adapter_model.bin", "adapter_model.pt") if (folder / name).is_file()]
    why = (tr("Its weights are a Python pickle ({file}), which can run code when it is opened.", file=pickled[0])
           if pickled else tr("{file} is missing.", file=WEIGHTS))
    raise UserError(what, why, tr("Ask for the adapter as {file}, which PEFT writes by default.", file=WEIGHTS))


def _patterns(value: Any) -> list[str]:
    """PEFT takes a text as a regular expression, a list's items for `layers_pattern`, and a table's keys."""
    return [value] if isinstance(value, str) else [each for each in value or () if isinstance(each, str)]


def _problems_of(config: Mapping[str, Any]) -> list[Problem]:
    """What adapter_config.json asks for and isn't done here."""
    known = {*_KEPT, *_OF_THE_TENSORS, *_WITHOUT_EFFECT}
    found = [Problem(tr("{key} isn't supported.", key=printable(str(key))), field=printable(str(key)))
             for key, value in config.items() if key not in known and value]
    if config.get("bias") not in (None, "none"):
        found.append(Problem(tr("It also has trained biases."), field="bias"))
    if config.get("init_lora_weights", True) not in _PLAIN_STARTS:
        found.append(Problem(tr("It was initialized with {value!r}, which changes the base's own weights, and those "
                                "aren't in the adapter. PEFT can convert it when it saves.",
                                value=printable(str(config["init_lora_weights"]))), field="init_lora_weights"))
    mapping = config.get("auto_mapping")
    library = mapping.get("parent_library") if isinstance(mapping, dict) else None
    if mapping and not str(library).startswith("transformers."):
        found.append(Problem(tr("It points to code that would be run."), field="auto_mapping"))
    alpha, dropout = config.get("lora_alpha"), config.get("lora_dropout") or 0.0
    if type(config.get("r")) is not int or not 0 < config["r"] <= 4096:
        found.append(Problem(tr("The rank must be a whole number from 1 to 4,096."), field="r"))
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < 2**16:
        found.append(Problem(tr("Alpha must be a number above 0."), field="lora_alpha"))
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        found.append(Problem(tr("Dropout must be a number from 0 to below 1."), field="lora_dropout"))
    for key in ("rank_pattern", "alpha_pattern"):
        pattern = config.get(key) or {}
        if not isinstance(pattern, dict) or not all(
                _PATTERN.fullmatch(name) and isinstance(value, (int, float)) and 0 < value < 2**16
                for name, value in pattern.items()):
            found.append(Problem(tr("It must give a number above 0 for names of layers."), field=key))
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(name, str) for name in saved):
        found.append(Problem(tr("It must be a list of names."), field="modules_to_save"))
    return found


def of_pattern(pattern: Mapping[str, Any] | None, layer: str, otherwise: Any) -> Any:
    """A layer's value in `rank_pattern` or `alpha_pattern`: the first key that ends its name, as PEFT looks it up."""
    return next((value for key, value in (pattern or {}).items() if re.match(rf"(.*\.)?({key})$", layer)), otherwise)


def _changes(tensors: dict[str, Tensor], config: Mapping[str, Any], problems: list[Problem]
             ) -> tuple[dict[str, tuple[int, ...]], set[str], Counter[int]]:
    """The base's tensors that the adapter changes with the shape that they must have, those that it replaces, and how
    many layers have which rank."""
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    whole: set[str] = set()
    strange: list[str] = []
    for full, tensor in tensors.items():
        name = full.removeprefix(PREFIX)
        ending = next((ending for ending in (A, B, MAGNITUDE) if name.endswith(ending)), None)
        if name == full or tensor.dtype not in _HELD or (ending is None and ".lora_" in name):
            strange.append(full)
        elif ending is not None:
            pairs.setdefault(name.removesuffix(ending), {})[ending] = tensor.shape
        else:
            whole.add(name)
            shapes[name] = tensor.shape
    saved = config.get("modules_to_save") or []
    if isinstance(saved, list):
        strange += [name for name in whole if not any(part in saved for part in name.split("."))]
    if strange:
        problems.append(Problem(ntr("{n:,} of its tensors doesn't belong to a LoRA adapter on linear layers: {names}.",
                                    "{n:,} of its tensors don't belong to a LoRA adapter on linear layers: {names}.",
                                    len(strange), names=printable(summed_up(sorted(strange)), 300))))
    ranks: Counter[int] = Counter()
    broken = []
    for layer, parts in pairs.items():
        shape = _shape_of(parts, bool(config.get("use_dora")))
        if shape is None:
            broken.append(layer)
            continue
        ranks[parts[A][0]] += 1
        shapes[f"{layer}.weight"] = shape[::-1] if config.get("fan_in_fan_out") else shape
        if not problems and of_pattern(config.get("rank_pattern"), layer, config["r"]) != parts[A][0]:
            broken.append(layer)
    if broken:
        problems.append(Problem(ntr("The matrices of {n:,} layer are incomplete, or don't have the rank that "
                                    "{config} says: {names}.",
                                    "The matrices of {n:,} layers are incomplete, or don't have the rank that "
                                    "{config} says: {names}.", len(broken), config=CONFIG,
                                    names=printable(summed_up(sorted(broken)), 300))))
    if not ranks and not problems:
        problems.append(Problem(tr("It doesn't change any layer.")))
    return shapes, whole, ranks


def _shape_of(parts: Mapping[str, tuple[int, ...]], dora: bool) -> tuple[int, int] | None:
    """(out, in) of the weight that B (out, rank) · A (rank, in) is added to; None if they don't go together."""
    a, b, magnitude = (parts.get(ending) for ending in (A, B, MAGNITUDE))
    if a is None or b is None or len(a) != 2 or len(b) != 2 or a[0] != b[1] or not math.prod(a) * math.prod(b):
        return None
    return (b[0], a[1]) if magnitude == ((b[0],) if dora else None) else None


def _clean(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], whole: Iterable[str]) -> dict[str, Any]:
    layers = sorted(name.removesuffix(".weight") for name in shapes.keys() - set(whole))
    return {"peft_type": "LORA", "task_type": "CAUSAL_LM", "inference_mode": True, "bias": "none",
            "init_lora_weights": True, **{key: config[key] for key in _KEPT if key in config}, "target_modules": layers}


def misfits(adapter: PeftAdapter, base: Path) -> list[str]:
    """Why the adapter isn't one of this base, in sentences; empty if it fits.

    Raises:
        UserError: the base can't be read.
    """
    facts, problems = read_model(base), list[Problem]()
    found = weight_files.read_weights(base, problems)
    held = found.tensors if found else {}
    absent = [name for name in adapter.shapes if name not in held and not (
        name in adapter.whole and name == "lm_head.weight")]
    said = []
    if absent == ["lm_head.weight"]:
        said.append(tr("{model} doesn't have {names}, which the adapter changes: the base's head is its embeddings.",
                       model=facts.name, names="lm_head.weight"))
    elif absent:
        said.append(tr("{model} doesn't have {names}, which the adapter changes.", model=facts.name,
                       names=printable(summed_up(sorted(absent)), 300)))
    for name, shape in adapter.shapes.items() if not facts.quantization else ():
        theirs = held[name].shape if name in held else (facts.vocabulary_size, facts.hidden_size)
        if name not in absent and theirs != shape:
            size, other = (" × ".join(map(number_text, parts)) for parts in (theirs, shape))
            said.append(tr("{tensor} is {theirs} in {model}, and {own} in the adapter.", tensor=printable(name),
                           theirs=size, model=facts.name, own=other))
            break  # the others differ for the same reason
    return said


def find_base(adapter: PeftAdapter, candidates: Iterable[Path]) -> Path:
    """The base that the adapter was trained on, among models on this machine: the name that it gives, and its shapes.

    Raises:
        UserError: none has that name; those that have the shapes are listed, since a version of the same size may still
            be another model.
    """
    named = adapter.base_named or ""
    last = re.split(r"[/\\]", named.rstrip("/\\"))[-1].lower()
    fitting = []
    # On Windows a name that begins with two slashes is on another computer, which must not be asked.
    is_local = Path(named).is_absolute() and named[:2].replace("\\", "/") != "//"
    for folder in dict.fromkeys([*([Path(named)] if is_local else []), *candidates]):
        try:
            fits = not misfits(adapter, folder)
        except UserError:
            continue
        if fits and (str(folder) == named or model_name(folder).lower() == last):
            return folder
        if fits:
            fitting.append(folder)
    why = (tr("It was trained on {model}, which isn't on this machine.", model=named) if named else
           tr("It doesn't say what its base is."))
    if fitting:
        why += " " + tr("These models have the same layout: {folders}. If one of them is the base under another name, "
                        "choose it.", folders=", ".join(str(folder) for folder in fitting[:_NAMED_SHOWN]))
    raise UserError(tr("The base model of {adapter} wasn't found.", adapter=adapter.name), why,
                    tr("Choose the base model's folder."))
