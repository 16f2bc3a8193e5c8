"""A real model folder small enough to train in a second: Llama architecture, byte-level BPE, ChatML template."""

from __future__ import annotations

import shutil
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXT = [
    "Where do I report a broken street light?",
    "Call the ward office or use the city's app.",
    "जन्म प्रमाण पत्र कितने दिन में मिलता है?",
    "आवेदन के सात दिन में प्रमाण पत्र मिल जाता है।",
    "user assistant system",
    "How long is a passport valid? Ten years for adults, five for children.",
]


def build(folder: Path, layers: int = 2, hidden: int = 64) -> Path:
    """Write the folder: about 100,000 random weights with a fixed seed, tokenizer, template, configuration."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    fast.chat_template = TEMPLATE
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


ROWS = [
    {"instruction": question, "output": answer}
    for question, answer in (
        ("Where do I report a broken street light?", "Call the ward office."),
        ("How long is a passport valid?", "Ten years for adults, five for children."),
        ("जन्म प्रमाण पत्र कितने दिन में मिलता है?", "आवेदन के सात दिन में।"),
        ("Who issues the ration card?", "The food and civil supplies office of the state."),
        ("राशन कार्ड कौन देता है?", "राज्य का खाद्य विभाग।"),
        ("What is the helpline for Aadhaar?", "1947"),
        ("Where can I pay the water bill?", "At the ward office or in the app."),
        ("मतदाता सूची में नाम कैसे जोड़ें?", "फ़ॉर्म 6 भरें।"),
    )
]


def with_token_beyond(folder: Path, source: Path, token: str = "<picture>") -> Path:
    """The same model, whose tokenizer has one token more than there are embeddings, as Gemma 3's small ones have."""
    from tokenizers import Tokenizer

    shutil.copytree(source, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([token])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
