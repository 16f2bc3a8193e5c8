"""The model to be trained, by method: what is loaded, in which number format, and which parts are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerFast

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import peft_adapter, scratch
from slmstudio.core.model.model_settings import EXPERT_COUNTS
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.kernels import gpu_attention
from slmstudio.worker.model import base_weights
from slmstudio.worker.runtime import ranks

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ROWS_APART = frozenset({"full_attention", "sliding_attention"})
"""Kinds of layers in which rows that are laid end to end don't reach into one another."""
NOT_TOLD = frozenset({"nemotron"})
"""Architectures (`model_type`) whose layers don't tell their attention where rows end."""
SENSES = r".*(vision|visual|image|multi_modal|audio|speech).*"
"""Modules beside the language model, by their names."""
STATES = r".*\.(mamba|mixer|conv1d)(\..*)?"
"""Layers with a memory of their own, such as Mamba's: PEFT refuses to adapt them."""
ATTENTION = r".*\.(self_attn|self_attention|attention|attn)\.\w*proj"
"""The linear layers of attention."""
IN_EXPERTS = frozenset({"gate", "router", "w1", "w2", "w3", "gate_proj", "up_proj", "down_proj", "gate_up_proj",
                        "input_linear", "output_linear"})


def on_gpu(config: RunConfig) -> bool:
    """Whether this run computes on an NVIDIA GPU; "auto" uses one if there is one."""
    return config.device != "cpu" and torch.cuda.is_available()


def autocasts(config: RunConfig, gpu: bool) -> bool:
    """Whether torch casts the inputs of products to `precision`.

    Full fine-tuning needs that, since its weights are fp32. So do adapters on a card: without autocast PEFT's layers
    cast each input to the adapter's fp32, keep that, and multiply in fp32, which is many times slower there
    (peft/tuners/lora/bnb.py, Linear4bit.forward). Kernels of ours do the adapters' work on the processor.
    """
    return config.precision != "fp32" and (gpu or not config.has_adapter)


def cards(config: RunConfig) -> list[str | None] | None:
    """UUIDs of the cards of this machine that the run computes on, `cuda:0` first: one for each of its processes.

    None for one that torch doesn't name; None for all of it where the run computes on the processor.
    """
    if not on_gpu(config):
        return None
    found = [getattr(torch.cuda.get_device_properties(number), "uuid", None)
             for number in range(min(ranks.local_world_size(), torch.cuda.device_count()))]
    return [None if uuid is None else str(uuid) for uuid in found]


def check(config: RunConfig) -> None:
    """Refuse what this machine or this installation can't do, before anything is loaded. What only makes a run faster
    or smaller is left out instead (options.py).

    Raises:
        UserError: with all of it at once.
    """
    needs_gpu = {"device": (config.device == "cuda", tr("cuda isn't possible, as there is no NVIDIA GPU here; choose "
                                                        "auto or cpu.")),
                 "precision": (config.precision == "fp16", tr("fp16 needs an NVIDIA GPU; choose bf16 or fp32 here."))}
    found = [Problem(sentence, field=field) for field, (asked, sentence) in needs_gpu.items() if asked]
    if found and not on_gpu(config):
        raise UserError(tr("This run can't be trained on this machine."), "", tr("Correct these fields."), found)


def load_tokenizer(model_folder: Path) -> PreTrainedTokenizerFast:
    """The base model's own tokenizer; padding is given a token if it has none.

    Not by AutoTokenizer: for some classes transformers 5 puts a normalizer and a pre-tokenizer of its own in the
    place of those in tokenizer.json, and other token ids are the result.
    """
    with base_weights.in_words(model_folder):
        tokenizer = PreTrainedTokenizerFast.from_pretrained(model_folder, local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _class_of(model_folder: Path) -> tuple[Any, Any]:
    """The model's class in transformers, and its configuration."""
    with base_weights.in_words(model_folder):
        config = AutoConfig.from_pretrained(model_folder, trust_remote_code=False, local_files_only=True)
    return AutoModelForCausalLM._model_mapping[type(config)], config


def own_attention(model_folder: Path) -> str:
    """PyTorch's fused attention, if the architecture computes the same with it."""
    return "sdpa" if _class_of(model_folder)[0]._supports_sdpa else "eager"


def keeps_rows_apart(model_folder: Path) -> bool:
    """Whether packed.py's attention can stand in for the architecture's own.

    Not where scores are more than products of queries and keys (Gemma 2 caps them, MPT adds slopes), where the
    architecture doesn't ask transformers' attention interface (Falcon), and not where layers have a memory of their
    own (Mamba, LFM2's convolutions) or don't hand on where rows end (Nemotron): rows would mix unnoticed.
    """
    kind, config = _class_of(model_folder)
    return bool(kind._supports_attention_backend and kind._supports_sdpa and not kind._is_stateful
                and config.model_type not in NOT_TOLD
                and ROWS_APART.issuperset(getattr(config.get_text_config(), "layer_types", None) or ()))


def heads_of(model_folder: Path) -> gpu_attention.Heads:
    """The shape of its attention."""
    config = _class_of(model_folder)[1].get_text_config()
    queries = config.num_attention_heads
    return gpu_attention.Heads(getattr(config, "head_dim", None) or config.hidden_size // queries, queries,
                               getattr(config, "num_key_value_heads", None) or queries,
                               getattr(config, "sliding_window", None))


def build(config: RunConfig, attention: str | None = None) -> tuple[PreTrainedModel | PeftModel, LoraConfig | None]:
    """The model in memory, and the adapter that the trainer is to put on it.

    Args:
        attention: implementation by transformers' name; None takes the configuration's.

    Returns:
        The model; and the new adapter's configuration, or None if nothing new is to be added.
    """
    attention = attention or config.attention
    if config.method == "scratch":
        return new_model(config, attention), None
    earlier = start_weights(config)
    if not config.has_adapter:
        return load_base(config, attention, earlier), None
    base = load_base(config, attention)
    if earlier is None:
        return base, lora_config(config)
    peft_adapter.need_loadable(earlier)
    model = PeftModel.from_pretrained(base, earlier, is_trainable=True, local_files_only=True)
    if isinstance(model.get_output_embeddings(), BaseTunerLayer):
        raise UserError(tr("This adapter can be exported, but not continued."),
                        tr("It also changes the model's head (lm_head), which isn't trained here."),
                        tr("Train a new adapter, for example on the merged model."))
    return model, None


def load_base(config: RunConfig, attention: str, instead: Path | None = None) -> PreTrainedModel:
    """The base model, in the run's precision.

    LoRA keeps the frozen base in `precision` and the adapter in fp32; QLoRA keeps the base in 4 bits: NF4 with double
    quantization (Dettmers et al. 2023, arXiv 2305.14314). Full fine-tuning keeps fp32 weights and computes in
    `precision`: updates smaller than a bf16 weight can hold would be lost.

    Args:
        instead: another folder with the same architecture, to continue from its weights.

    Raises:
        UserError: weights are missing from the folder, or aren't numbers.
    """
    held, source = DTYPES[config.precision] if config.has_adapter else torch.float32, Path(instead or config.model)
    options = placed(source, held, on_gpu(config) and not is_sharded(config), config.method == "qlora")
    model: PreTrainedModel = base_weights.load(source, dtype=held, attn_implementation=attention, **options)
    base_weights.need_numbers(model, source.name)
    ready_4bit_layers(model, held)
    return model


def placed(source: Path, held: torch.dtype, gpu: bool, four_bits: bool) -> dict[str, Any]:
    """What `from_pretrained` is told about where weights go, and how they are held.

    With a device, each tensor goes there as it is read from its file (transformers/core_model_loading.py,
    `spawn_materialize`), so that main memory never holds the model. Without one, bitsandbytes takes the card even if
    the run doesn't.

    Args:
        held: the format that a base in 4 bits computes in.
    """
    options: dict[str, Any] = {}
    if four_bits:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=held)
    if gpu or four_bits or hasattr(_class_of(source)[1], "quantization_config"):
        options["device_map"] = {"": torch.cuda.current_device() if gpu else "cpu"}
    return options


def is_sharded(config: RunConfig) -> bool:
    """Whether the ranks share one model instead of each having all of it."""
    return ranks.world_size() > 1 and config.parallelism == "fsdp"


def layers(model: Any) -> Any:
    """The decoder's layers, whatever is wrapped around them."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.get_decoder().layers


def ready_4bit_layers(model: PreTrainedModel, compute: torch.dtype) -> None:
    """Let layers in 4 bits compute in `compute`: the folder of a base that comes in 4 bits says another format, often
    bf16, which cards before Ampere don't have.

    And forbid bitsandbytes to repack their weights for inference, which it does on the CPU at the first evaluation;
    with a bias, as Qwen2 has, that raises an error. A layer stays repacked afterwards, and the repacked product has no
    gradient: training would continue, and all below each layer would learn from the adapter's part alone (bitsandbytes
    0.50, nn/modules.py, Linear4bit.forward).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
            module.compute_dtype, module.compute_type_is_set = compute, True


def new_model(config: RunConfig, attention: str) -> PreTrainedModel:
    """A model with random weights: the base's architecture and vocabulary, the sizes of `scratch_size`."""
    base = AutoConfig.from_pretrained(config.model, trust_remote_code=False, local_files_only=True)
    state = {key: value for key, value in base.to_dict().items() if key not in scratch.OF_THE_BASE_ALONE}
    sizes = scratch.sizes(config.scratch_size, base.vocab_size)
    new = type(base)(**{**state, **sizes, "max_position_embeddings": max(2048, config.max_length)})
    return AutoModelForCausalLM.from_config(new, dtype=torch.float32, attn_implementation=attention)


def lora_config(config: RunConfig) -> LoraConfig:
    """The new adapter. In a model that also takes images or sound, only the language model is trained; in a mixture of
    experts, only attention; and in one with Mamba layers, all the other layers.

    Raises:
        UserError: `target_modules` names layers of experts.
    """
    kind, whole = _class_of(Path(config.model))
    senses = SENSES if whole.get_text_config() is not whole else None
    return LoraConfig(
        exclude_modules=STATES if kind._is_stateful else senses,
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout,
        target_modules=_targets(config, whole.get_text_config()), use_dora=config.use_dora,
        use_rslora=config.use_rslora, task_type="CAUSAL_LM")


def _targets(config: RunConfig, model: Any) -> str | list[str]:
    """Which layers get the adapter. Experts are in one tensor: PEFT would adapt that as a whole, which no other program
    reads."""
    if not any(getattr(model, key, None) for key in EXPERT_COUNTS):
        return config.target_modules
    if config.target_modules == "all-linear":
        return ATTENTION
    names = [config.target_modules] if isinstance(config.target_modules, str) else config.target_modules
    if named := [name for name in names if name.rsplit(".", 1)[-1] in IN_EXPERTS]:
        raise UserError(tr("The experts of this model can't get an adapter."), "", tr("Correct this field."),
                        [Problem(tr("{layers} belong to the experts of a mixture: name layers of attention, or "
                                    "'all-linear', which takes those of attention here.", layers=", ".join(named)),
                                 field="target_modules")])
    return config.target_modules


def start_weights(config: RunConfig) -> Path | None:
    """The adapter or model to continue from, found in the run folder that `start_from` names.

    Raises:
        UserError: there is none, or it is of a different kind from this run's method, or not what its run produced.
    """
    found = folder.to_continue_from(config)
    if found is not None:
        folder.need_own_result(found)
    return found


def adapters_in_fp32(model: torch.nn.Module) -> None:
    """TRL casts the adapter on a base in 4 or 8 bits to bf16; small updates at the end of a run would then be lost."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
