"""Settings of a model folder that lead a library to code, or to files that nobody has checked.

What transformers 5.24 and peft 0.21 do with each was read in their source. Most such keys are passed over where
`trust_remote_code` is off, as it always is here, and honest models carry them: Phi-3 has an `auto_map` although
transformers brings its architecture. These are named in a warning. Refused is what would be followed all the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.json_files import MAX_VALUES, printable, put_own, read_json_object, walk

MODEL, TOKENIZER, ADAPTER = "config.json", "tokenizer_config.json", "adapter_config.json"
FILES = (MODEL, TOKENIZER, "generation_config.json", "special_tokens_map.json", "added_tokens.json",
         "processor_config.json", "preprocessor_config.json", "chat_template.json")
MAX_DEPTH = 40
_FOLLOWED = {
    MODEL: {
        "configuration_files": noop("{key} in {file} leads to another configuration, which would replace this one."),
        "transformers_weights": noop("{key} in {file} leads to another file of weights, which would be loaded instead "
                                     "of those that were checked."),
        "use_pretrained_backbone": noop("{key} in {file} leads to another model, which would be loaded with this one."),
        "fusion_config": noop("{key} in {file} replaces the model's layers with other code."),
    },
    TOKENIZER: {
        "fast_tokenizer_files": noop("{key} in {file} leads to another tokenizer, which would be loaded instead of "
                                     "tokenizer.json."),
        "init_inputs": noop("{key} in {file} passes values to the tokenizer's class that can't be checked."),
        "tokenizer_object": noop("{key} in {file} replaces the tokenizer with something else."),
    },
}
"""Keys that are followed whatever `trust_remote_code` says, by file, and what they would do."""
_KERNEL = re.compile(r"[/:\\]")
"""In the name of an implementation: it is one of the hub's, as ORG/NAME (transformers, integrations/hub_kernels.py)."""
_CODE = ("auto_map", "trust_remote_code", "custom_pipelines", "custom_generate", "custom_code")
_PATHS = ("vocab_file", "merges_file", "tokenizer_file", "spm_file", "gguf_file", "tekken_file")
_METHODS = frozenset((
    "get_text_config", "to_dict", "to_json_string", "to_diff_dict", "save_pretrained", "from_pretrained", "from_dict",
    "update", "validate", "convert_rope_params_to_dict", "standardize_rope_params"))
"""Methods of transformers' configurations: a key of that name would take the method's place."""


def check(folder: Path, names: frozenset[str], problems: list[Problem], warnings: list[str]) -> None:
    """Look at the settings of all of a folder's configuration files; what is wrong goes to `problems`."""
    if ADAPTER in names and MODEL in names:
        problems.append(Problem(tr("{file} is beside the base model, and transformers would apply that adapter to "
                                   "the model when it is loaded. Move the adapter into a folder of its own.",
                                   file=ADAPTER)))
    passed_over: dict[str, list[str]] = {}
    for file in FILES:
        if file not in names:
            continue
        try:
            settings = read_json_object(folder / file)
        except UserError as error:
            if file not in (MODEL, TOKENIZER):  # these two are reported where they are used
                problems.append(Problem(" ".join(filter(None, (error.what, error.why, put_own(file))))))
            continue
        found = list(_passed_over(file, settings, problems))
        if found:
            passed_over[file] = found
    if passed_over:
        listed = "; ".join(f"{file}: {', '.join(dict.fromkeys(keys))}" for file, keys in passed_over.items())
        warnings.append(tr("The settings name code or places outside the folder, which this program never follows "
                           "({settings}).", settings=listed))


def _passed_over(file: str, settings: dict[str, Any], problems: list[Problem]) -> Iterator[str]:
    """The keys of one file that lead elsewhere and are passed over; those that are followed go to `problems`."""
    for count, (parents, key, value) in enumerate(walk(settings)):
        if count == MAX_VALUES:
            said = tr("{file} contains more than {most:,} values, which no model needs.", file=file, most=MAX_VALUES)
            problems.append(Problem(f"{said} {put_own(file)}"))
            return
        if len(parents) > MAX_DEPTH:
            said = tr("{file} is nested more than {most} levels deep, which no model needs.", file=file, most=MAX_DEPTH)
            problems.append(Problem(f"{said} {put_own(file)}"))
            return
        if value in (None, False, [], {}, ""):
            continue
        is_item = parents[-1:] == (key,)  # what a list or a table means has been looked at with it
        said = "" if is_item else _followed(file, parents, key, value)
        if said:
            problems.append(Problem(f"{said} {tr('Remove it, or choose another model.')}"))
        elif (key in _CODE and not is_item) or _is_elsewhere(key, value):
            yield printable(key)


def _followed(file: str, parents: tuple[str, ...], key: str, value: Any) -> str:
    """What a setting does although no code of a model is ever trusted, in a sentence; "" if it does nothing."""
    shown = printable(key)
    if sentence := _FOLLOWED.get(file, {}).get(key):
        return tr(sentence, key=shown, file=file)
    if key == "auto_map" and not _is_auto_map(value):
        return tr("{key} in {file} isn't a table of class names, so no library can read it.", key=shown, file=file)
    if key.startswith("__") and key != "__float__" and file == MODEL:
        return tr("{key} in {file} reaches into Python's internals.", key=shown, file=file)
    if file == MODEL and key in _METHODS and (not parents or parents[-1].endswith("_config")):
        return tr("{key} in {file} would replace a method of the same name.", key=shown, file=file)
    if key.removeprefix("_").removesuffix("_internal") in ("attn_implementation", "experts_implementation"):
        kernel = next((text for text in _texts(value) if _KERNEL.search(text)), None)
        return tr("{key} in {file} names code that would be fetched from the hub ({code}).", key=shown, file=file,
                  code=printable(kernel, 60)) if kernel else ""
    return ""


def _is_auto_map(value: Any) -> bool:
    """As transformers writes it: class names by kind; for tokenizers a pair, or None."""
    classes = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [0]
    return all(item is None or isinstance(item, str)
               or (isinstance(item, list) and all(part is None or isinstance(part, str) for part in item))
               for item in classes)


def _is_elsewhere(key: str, value: Any) -> bool:
    """Whether a setting is an address, or names a tokenizer's file outside the folder."""
    if not isinstance(value, str):
        return False
    if re.match(r"(?:https?|ftp|file|s3|hf)://", value, re.I):
        return True
    return key in _PATHS and (os.path.isabs(value) or ".." in value or ":" in value or "\\" in value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
