"""Chat templates in Jinja, as models bring them, and talks to put through them."""

from __future__ import annotations

from slmstudio.core.model.chat_template import ChatTemplate

SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou "
    "are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}")
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + "
    "' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}{% else %}"
    "{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}")
ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}")
QUOTES = (
    "{% for message in messages %}{{ '\"{{ ' + message['role'] + '\\\\ \u200d\t' + message['content'] + '\"\"\" }}' }}"
    "{% endfor %}{{ '>' }}")
TALK = [("user", "राशन कार्ड कैसे बनता है?\n\"{{ .Content }}\""), ("assistant", "Form A.\n- `x`"), ("user", "and?"),
        ("assistant", "Yes."), ("user", "ठीक है")]


def talks(with_system: bool) -> list[list[dict[str, str]]]:
    systems = [[], [{"role": "system", "content": "Answer in \"Hindi\".\n\nBriefly."}]] if with_system else [[]]
    turns_ = [{"role": role, "content": text} for role, text in TALK]
    return [[*system, *turns_[:length]] for system in systems for length in (1, 3, 5)]


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"})
