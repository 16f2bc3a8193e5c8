"""Model folders that somebody means ill with, or that are broken: each with what the refusal must say.

    python tests/support/hostile_models.py FOLDER read|vet [name ...]

builds each in FOLDER, reads or vets it, and prints a line of JSON for it: what was said, which files outside of its
folder were opened, and what it took.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from support.crafted_models import (
    CANARY,
    ROWS,
    Evil,
    as_folder,
    bare_socket,
    edit,
    first,
    foreign_code,
    header,
    honest,
    linked,
    many_files,
    numpy_objects,
    pipe,
    rename,
    shards,
    sparse,
    split,
    template_link,
    tensor,
    tokenizer,
    torch_zip,
    with_file,
)
from support.model_files import llama_tensors, safetensors

Build = Callable[[Path], Any]
READ: dict[str, tuple[Build, str]] = {
    # The weights and their index.
    "index leads outside": (lambda f: shards(f, lambda h, i: rename(i, "../other.safetensors")),
                            "names files that aren't safetensors files in this folder: ../other"),
    "index with an absolute path": (lambda f: shards(f, lambda h, i: rename(i, "/etc/hostname")), ": /etc/hostname"),
    "index names a pickle": (lambda f: shards(f, lambda h, i: rename(i, "pytorch_model.bin")), ": pytorch_model.bin"),
    "index names many files": (lambda f: shards(f, lambda h, i: i["weight_map"].update(
        {f"t{n}": f"{n}.safetensors" for n in range(501)})), "names 503 files"),
    "index without a tensor": (lambda f: shards(f, lambda h, i: i["weight_map"].pop(first(i))),
                               "tensor that model.safetensors.index.json doesn't list: model.embed_tokens.weight"),
    "index with one more": (lambda f: shards(f, lambda h, i: i["weight_map"].update(
        {"model.more": "model-00001-of-00002.safetensors"})), "tensor that no weight file contains: model.more"),
    "index with the wrong file": (lambda f: shards(f, lambda h, i: i["weight_map"].update(
        {first(i): "model-00002-of-00002.safetensors"})), "names the wrong file for 1 tensor:"),
    "index of impossible size": (lambda f: shards(f, lambda h, i: i["metadata"].update(total_size=-1)),
                                 "gives an impossible total size: -1"),
    "tensor in two files": (lambda f: shards(f, lambda h, i: h[1].update({first(i): ("BF16", (ROWS, 8))})),
                            "in two weight files at once"),
    "overlap": (lambda f: honest(f, weights=header(
        f'{{"a": {tensor("[2]", 0, 8)}, "b": {tensor("[2]", 4, 12)}}}', bytes(12))), "overlap"),
    "gap": (lambda f: honest(f, weights=header(
        f'{{"a": {tensor("[1]", 0, 4)}, "b": {tensor("[2]", 8, 16)}}}')), "a gap between them"),
    "cut off": (lambda f: honest(f, weights=safetensors(llama_tensors(vocabulary=ROWS))[:-100]), "truncated"),
    "hidden bytes": (lambda f: honest(f, weights=safetensors(llama_tensors()) + bytes(99)), "99 bytes follow the last"),
    "tensor twice": (lambda f: honest(f, weights=header(
        f'{{"a": {tensor("[2]", 0, 8)}, "a": {tensor("[2]", 8, 16)}}}')), "its header has a twice"),
    "huge header": (lambda f: honest(f, weights=struct.pack("<Q", 90_000_000) + b"{"), "claims 90,000,000 bytes"),
    "header beyond the file": (lambda f: honest(f, weights=struct.pack("<Q", 9_000) + b'{"a":'),
                               "ends inside its header"),
    "negative shape": (lambda f: honest(f, weights=header(f'{{"minus": {tensor("[-2]", 0, 8)}}}', bytes(8))),
                       "entry for minus is wrong"),
    "huge shape": (lambda f: honest(f, weights=header(
        f'{{"huge": {tensor("[4611686018427387904, 4611686018427387904]", 0, 16)}}}')), "entry for huge is wrong"),
    "many dimensions": (lambda f: honest(f, weights=header(
        f'{{"deep": {tensor(str([1] * 9), 0, 4)}}}', bytes(4))), "entry for deep is wrong"),
    "empty tensor": (lambda f: honest(f, weights=header(f'{{"none": {tensor("[0, 8]", 0, 0)}}}', b"")),
                     "its tensor none is empty"),
    "many tensors": (lambda f: honest(f, weights=header("{" + ",".join(
        f'"{n}":{tensor("[1]", n, n + 1, "U8")}' for n in range(80_001)) + "}", bytes(80_001))),
        "lists 80,001 tensors"),
    "many empty entries": (lambda f: honest(f, weights=header(
        "{" + ",".join(f'"{n}":{{}}' for n in range(500_000)) + "}")), "lists 500,000 tensors"),
    "unknown number format": (lambda f: honest(f, weights=header(f'{{"a": {tensor("[4]", 0, 16, "F99")}}}')), "F99"),
    "weights of another size": (lambda f: honest(f, {"intermediate_size": 12}),
                                "don't have the shape that config.json says"),
    "weights missing": (lambda f: honest(f, weights=safetensors(
        {k: v for k, v in llama_tensors(vocabulary=ROWS).items() if "q_proj" not in k})), "Random numbers would be"),
    "distributed checkpoint": (lambda f: with_file(f, "shard-00001-model-00001-of-00001.safetensors", b"x"),
                               "would be loaded instead of the weights that were checked"),
    # Pickles.
    "pickle as weights": (lambda f: honest(f, weights=pickle.dumps(Evil(f))), "model.safetensors is a Python pickle"),
    "torch file as weights": (lambda f: honest(f, weights=torch_zip(f)), "as PyTorch's pickle files are"),
    "pickles alone": (lambda f: honest(f) and (f / "model.safetensors").rename(f / "pytorch_model.bin"),
                      "The weights are pickle files (pytorch_model.bin)"),
    "pickle as tokenizer.json": (lambda f: with_file(f, "tokenizer.json", pickle.dumps(Evil(f))),
                                 "tokenizer.json is a Python pickle"),
    "pickle as config.json": (lambda f: with_file(f, "config.json", pickle.dumps(Evil(f))),
                              "config.json is a Python pickle"),
    # Code, and other files.
    "code for an unknown architecture": (lambda f: foreign_code(f, model_type="my_own"), "trust_remote_code stays off"),
    "auto_map that breaks": (lambda f: honest(f, {"auto_map": {"AutoConfig": 7}}), "isn't a table of class names"),
    "another configuration": (lambda f: honest(f, {"configuration_files": ["config.4.0.0.json"]}),
                              "configuration_files in config.json leads to another configuration"),
    "other weights": (lambda f: honest(f, {"transformers_weights": "adapter_model.bin"}),
                      "transformers_weights in config.json leads to another file of weights"),
    "code for attention": (lambda f: honest(f, {"text_config": {"_attn_implementation": "evil/attention"}}),
                           "names code that would be fetched from the hub (evil/attention)"),
    "code for experts": (lambda f: honest(f, {"experts_implementation": {"": "evil/experts"}}), "(evil/experts)"),
    "another backbone": (lambda f: honest(f, {"use_pretrained_backbone": True, "backbone": "../other"}),
                         "use_pretrained_backbone in config.json leads to another model"),
    "other layers": (lambda f: honest(f, {"fusion_config": {"mlp": True}}), "replaces the model's layers"),
    "Python's insides": (lambda f: honest(f, {"__class__": "os.system"}), "reaches into Python's internals"),
    "a method's name": (lambda f: honest(f, {"get_text_config": "x"}), "would replace a method"),
    "another tokenizer": (lambda f: honest(f) and edit(f, "tokenizer_config.json", fast_tokenizer_files=[
        "../tokenizer.4.0.json"]), "fast_tokenizer_files in tokenizer_config.json leads to another tokenizer"),
    "values for a class": (lambda f: honest(f) and edit(f, "tokenizer_config.json", init_inputs=["/etc/passwd"]),
                           "init_inputs in tokenizer_config.json passes"),
    "adapter beside the model": (lambda f: honest(f) and edit(f, "adapter_config.json", base_model_name_or_path="/x"),
                                 "adapter_config.json is beside the base model"),
    "broken generation_config.json": (lambda f: with_file(f, "generation_config.json", b"{"),
                                      "generation_config.json isn't JSON"),
    "deep nesting": (lambda f: honest(f, {"a": json.loads("[" * 60 + "]" * 60)}), "nested more than 40 levels deep"),
    "absurd nesting": (lambda f: with_file(f, "config.json", b"[" * 100_000), "config.json is nested too deeply"),
    # Numbers.
    "a million layers": (lambda f: honest(f, {"num_hidden_layers": 10**6}),
                         "num_hidden_layers in config.json is 1,000,000"),
    "text for a number": (lambda f: honest(f, {"hidden_size": "8"}),
                          "hidden_size in config.json is '8'; it must be a whole"),
    "a fraction of a head": (lambda f: honest(f, {"num_attention_heads": 1.5}),
                             "num_attention_heads in config.json is 1.5"),
    "true for a number": (lambda f: honest(f, {"num_key_value_heads": True}),
                          "num_key_value_heads in config.json is true"),
    "a number for true": (lambda f: honest(f, {"tie_word_embeddings": 1}), "it must be true or false"),
    "not a number": (lambda f: honest(f, {"rms_norm_eps": float("nan")}), "rms_norm_eps in config.json is nan"),
    "infinity": (lambda f: honest(f, {"rope_parameters": {"factor": float("inf")}}), "rope_parameters.factor"),
    "thirty zeros": (lambda f: honest(f, {"anything": 10**30}), "anything in config.json is a number of 31 digits"),
    "heads that don't fit": (lambda f: honest(f, {"num_attention_heads": 3}), "3 heads can't share a hidden size of 8"),
    "heads of keys that don't fit": (lambda f: honest(f, {"num_attention_heads": 4, "num_key_value_heads": 3}),
                                     "4 heads can't share 3 heads of keys"),
    "negative frequency": (lambda f: honest(f, {"rope_theta": -1.0}), "rope_theta in config.json is -1.0"),
    "a function for a format": (lambda f: honest(f, {"torch_dtype": "load"}), "isn't a number format"),
    "an id that isn't a number": (lambda f: honest(f, {"eos_token_id": ["</s>"]}), "isn't a token's id"),
    "a vocabulary for the memory": (lambda f: honest(f, {"model_type": "apertus", "vocab_size": 3_000_000}),
                                    "promises a vocabulary of 24,000,000 parameters"),
    "layers for the memory": (lambda f: honest(f, {"model_type": "apertus", "intermediate_size": 1_000_000}),
                              "promises layers of 16,000,128 parameters"),
    "settings by the million": (lambda f: with_file(f, "generation_config.json",
                                                    b'{"a": [' + b"[0]," * 1_000_000 + b"0]}"),
                                "generation_config.json contains more than 300,000 values"),
    "foreign quantization": (lambda f: honest(f, {"quantization_config": {"quant_method": "aqlm"}}),
                             "quantized with aqlm"),
    "200 MB of config": (lambda f: sparse(f, "config.json", 200_000_000, b'{"a": "', b'"}'),
                         "config.json is larger than"),
    "isn't a language model": (lambda f: honest(f, {"architectures": ["LlamaForTokenClassification"]}),
                          "no head to write text"),
    # What transformers would break down at.
    "unknown activation": (lambda f: honest(f, {"hidden_act": "swish_magic"}),
                           "hidden_act in config.json is 'swish_magic', which isn't a supported activation function"),
    "a number for an activation": (lambda f: honest(f, {"hidden_act": 7}), "hidden_act in config.json is 7, which"),
    "heads of a billion": (lambda f: honest(f, {"head_dim": 10**9}), "head_dim in config.json is 1,000,000,000"),
    "unknown positions": (lambda f: honest(f, {"rope_scaling": {"rope_type": "magic", "factor": 2.0}}),
                          "has the kind 'magic', which isn't supported"),
    "positions without a factor": (lambda f: honest(f, {"rope_scaling": {"type": "linear"}}),
                                   "doesn't say factor, which its kind linear needs"),
    "positions of Llama 3 in part": (lambda f: honest(f, {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}),
                                     "doesn't say low_freq_factor, high_freq_factor, which"),
    "positions as a text": (lambda f: honest(f, {"rope_scaling": "linear"}), "is 'linear'; it must be a table"),
    "positions as a list": (lambda f: honest(f, {"rope_parameters": [1]}), "rope_parameters in config.json is [1]"),
    "a whole number for a fraction": (lambda f: honest(f, {"rms_norm_eps": 0}), "must be written as a fraction"),
    "lists of ends in a list": (lambda f: honest(f, {"eos_token_id": [[1]]}), "eos_token_id in config.json is [[1]]"),
    "unknown kinds of layers": (lambda f: honest(f, {"layer_types": ["magic", "magic"]}), "that aren't supported"),
    "kinds of fewer layers": (lambda f: honest(f, {"layer_types": ["full_attention"]}), "names 1 layers"),
    "labels that aren't a number": (lambda f: honest(f, {"num_labels": "x"}), "num_labels in config.json is 'x'"),
    "labels that aren't a table": (lambda f: honest(f, {"id2label": "x"}), "id2label in config.json is 'x'"),
    "packing that isn't a table": (lambda f: honest(f, {"quantization_config": "x"}), "quantization_config in config"),
    "packing of plain weights": (lambda f: honest(f, {"quantization_config": {
        "quant_method": "bitsandbytes", "load_in_4bit": True}}), "packed by bitsandbytes, but they are plain numbers"),
    "whole numbers for weights": (lambda f: honest(f, weights=safetensors({
        name: ("I16", shape) for name, (_, shape) in llama_tensors(vocabulary=ROWS).items()})),
        "contain whole numbers (I16) where weights belong"),
    "padding on no side": (lambda f: honest(f) and edit(f, "tokenizer_config.json", padding_side="up"),
                           "padding_side in tokenizer_config.json is 'up'"),
    "length as a text": (lambda f: honest(f) and edit(f, "tokenizer_config.json", model_max_length="x"),
                         "model_max_length in tokenizer_config.json is 'x'"),
    "a list for a token": (lambda f: honest(f) and edit(f, "tokenizer_config.json", eos_token=["a"]),
                           "eos_token in tokenizer_config.json is ['a']"),
    "a number for tokens": (lambda f: honest(f) and edit(f, "tokenizer_config.json", extra_special_tokens=7),
                            "extra_special_tokens in tokenizer_config.json is 7"),
    # Tokenizer and template, by a look alone.
    "tokenizer of a gigabyte": (lambda f: sparse(f, "tokenizer.json", 2**30, b"{", b"}"),
                                "tokenizer.json is larger than"),
    "half a tokenizer": (lambda f: with_file(f, "tokenizer.json", b'{"model": {'), "tokenizer.json is truncated"),
    "several templates": (lambda f: honest(f, template=None) and edit(f, "tokenizer_config.json", chat_template=[]),
                          "none is the default"),
}
"""What reading a model refuses: how it is built, and words of its message."""
if os.name != "nt":
    READ |= {
        "config.json leads outside": (lambda f: linked(f, "config.json"), "config.json is a link that leads out"),
        "weights lead outside": (lambda f: linked(f, "model.safetensors"), "model.safetensors is a link that leads"),
        "licence leads outside": (lambda f: with_file(f, "other", b"") or (f / "LICENSE").symlink_to("/etc/passwd"),
                                  "LICENSE is a link that leads out of the folder, to /etc/passwd"),
        "link to a device": (lambda f: linked(f, "tokenizer.json", Path("/dev/zero")), "to /dev/zero"),
        "link to nothing": (lambda f: linked(f, "tokenizer.json", f / "gone"), "a link to a missing file"),
        "link to itself": (lambda f: linked(f, "chat_template.jinja", f / "chat_template.jinja"),
                           "chat_template.jinja is a link"),
        "template leads to a pipe": (template_link, "tool.jinja is a link that leads out"),
        "pipe": (pipe, "README.md is a pipe"),
        "socket": (bare_socket, "README.md is a socket"),
        "folder for a file": (as_folder, "generation_config.json is a folder where a file belongs"),
        "two of one name": (lambda f: with_file(f, "Config.json", b"{}"), "Config.json, config.json differ only in"),
        "ten thousand files": (many_files, "more than 10,000 files"),
    }
VOCABULARY = {"[UNK]": 0, "office": 1}
VET: dict[str, tuple[Build, str]] = {
    "regular expression without end": (lambda f: split(f, r"a*a*(?:\d\d|ß)"),
                                       "ordinary text into tokens. It asked for more time than any model needs."),
    "text without end": (lambda f: tokenizer(f, normalizer={"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}] * 12}),
        "ordinary text into tokens. It asked for more memory than any model needs."),
    "template without end": (lambda f: honest(f, template=(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")),
        "stopped"),  # by whichever limit comes first
    "regular expression that gives up": (lambda f: split(f, r"(a+)+c"), "tokenizer.json fails on ordinary text"),
    "pickle as tokenizer.model": (lambda f: with_file(f, "tokenizer.model", pickle.dumps(Evil(f))),
                                  "tokenizer.model is a Python pickle behind another name"),
    "text pickle as merges.txt": (lambda f: with_file(f, "merges.txt", pickle.dumps(Evil(f), 0)),
                                  "merges.txt is a Python"),
    "objects as vocab.json": (lambda f: with_file(f, "vocab.json", numpy_objects(f)), "vocab.json is a Python pickle"),
    "packed pickle as tekken.json": (lambda f: with_file(f, "tekken.json", gzip.compress(pickle.dumps(Evil(f)))),
                                     "tekken.json is a Python pickle"),
    "torch file as spiece.model": (lambda f: with_file(f, "spiece.model", torch_zip(f)),
                                   "spiece.model is a Python pickle"),
    "tokens without rows": (lambda f: honest(f, {"vocab_size": 200},
                                             weights=safetensors(llama_tensors(vocabulary=200))),
                            "ids up to 269, but the embeddings have 200 rows"),
    "end token without a row": (lambda f: honest(f) and edit(
        f, "tokenizer_config.json", eos_token="<|new|>",
        added_tokens_decoder={str(n): {"content": f"<{n}>"} for n in range(5)}),
        "ids up to 275, but the embeddings have 272 rows"),
    "EOS beyond the rows": (lambda f: honest(f, {"eos_token_id": 5_000}),
                            "eos_token_id is 5,000, but the embeddings have"),
    "negative BOS": (lambda f: honest(f, {"bos_token_id": -1}), "bos_token_id is -1"),
    "values by the million": (lambda f: with_file(f, "tokenizer.json", b'{"a": [' + b"0," * 2_500_001 + b"0]}"),
                              "more than 2,500,000 values"),
    "no tokenizer at all": (lambda f: with_file(f, "tokenizer.json", b'{"model": {}}'),
                            "of an unsupported kind"),
    "unknown token that isn't": (lambda f: tokenizer(f, model={
        "type": "WordPiece", "vocab": {"a": 0}, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100}), "WordPiece error: Missing [UNK] token"),
    "English is lost": (lambda f: tokenizer(f, model={"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[UNK]"}),
                        "Plain English text doesn't come back"),
    "added tokens that aren't": (lambda f: honest(f) and edit(f, "tokenizer_config.json",
                                                              added_tokens_decoder={"x": 3}),
                                 "describes its added tokens in an unsupported way"),
    "half a character for BOS": (lambda f: honest(f) and edit(f, "tokenizer_config.json", bos_token="\ud83d"),
                                 "tokenizer_config.json describes"),
    "broken template": (lambda f: honest(f, template="{% for %}"), "The chat template is broken at line 1"),
    "template that reaches out": (lambda f: honest(f, template="{{ messages.__class__.__mro__ }}"),
                                  "does something that no chat template needs"),
    "template that grows": (lambda f: honest(f, template="{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}"),
                            "The chat template was stopped"),
    "template that isn't text": (lambda f: with_file(f, "chat_template.jinja", b"\xff\xfe{{"), "isn't UTF-8 text"),
}
"""What only vetting refuses. The first three are stopped at their limits, which takes seconds."""
BOMBS = tuple(VET)[:3]


def main(base: Path, how: str, names: list[str]) -> None:
    from slmstudio.core.errors import UserError
    from slmstudio.core.model import template_client
    from slmstudio.core.model.facts import read_model
    from slmstudio.core.model.vetting.vet import vet

    opened: list[str] = []
    recording = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if recording and event in ("open", "os.listdir", "os.scandir"):
            opened.append(os.path.realpath(os.fsdecode(arguments[0])) if isinstance(arguments[0], (str, bytes)) else "")

    sys.addaudithook(watch)
    for name in names or (list(VET) if how == "vet" else list(READ)):
        folder = base / name.replace("'", "").replace(" ", "-") / "model"
        folder.parent.mkdir(parents=True)
        ({**READ, **VET}[name][0])(folder)
        recording, said = True, ""
        try:
            said = " | ".join(map(str, vet(folder).problems)) if how == "vet" else read_model(folder) and ""
        except UserError as error:
            said = str(error)
        recording = False
        template_client.close()  # so that it is counted
        outside = [path for path in opened if path.startswith(str(folder.parent)) and not path.startswith(str(folder))]
        opened.clear()
        print(json.dumps({"name": name, "said": said, "outside": outside, "ran": (folder.parent / CANARY).exists(),
                          **_taken()}), flush=True)


def _taken() -> dict[str, float]:
    """Seconds of the processor and megabytes that this process and its largest child have taken so far."""
    try:
        import resource
    except ImportError:
        return {}
    own, child = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    unit, most = 2**20 if sys.platform == "darwin" else 2**10, own.ru_maxrss
    if sys.platform == "linux":  # where ru_maxrss begins with what the parent had
        most = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    return {"seconds": own.ru_utime + own.ru_stime + child.ru_utime + child.ru_stime,
            "megabytes": (most + child.ru_maxrss) / unit}


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:])
