import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def load_base():
    """The base model in 4 bits: NF4 with double quantization (arXiv 2305.14314)."""
    on_gpu = DEVICE != "cpu" and torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        MODEL,
        dtype=DTYPES[PRECISION],
        attn_implementation=ATTENTION,
        use_safetensors=True,
        local_files_only=True,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=DTYPES[PRECISION],
        ),
        device_map={"": torch.cuda.current_device() if on_gpu else "cpu"},
    )
    # On some CPUs bitsandbytes repacks the weights at the first evaluation, and the repacked product has no gradient.
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model
