import json

from datasets import Dataset


def encode(messages, tokenizer, tools=None):
    """Token ids of a conversation, and labels: the answers' ids, -100 (not learned) everywhere else."""
    def render(messages, **options):
        return tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, **options)

    text = render(messages)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            # An answer begins where the generation prompt ends, and ends with the token that ends the turn.
            before = render(messages[:i], add_generation_prompt=True)
            spans.append((len(before), len(render(messages[: i + 1])) - len(AFTER_ANSWER)))
    learn_all = OBJECTIVE == "text" or not COMPLETION_ONLY_LOSS
    labels = []
    for token, (start, _) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        learned = learn_all or any(begin <= start < end for begin, end in spans)
        labels.append(token if learned else -100)
    return encoded["input_ids"][:MAX_LENGTH], labels[:MAX_LENGTH]


def load_rows(file, tokenizer):
    """The rows of a file as token ids and labels; rows with nothing to learn are left out."""
    rows = []
    for line in file.read_text(encoding="utf-8").split("\n"):
        if not line:
            continue
        row = json.loads(line)
        ids, labels = encode(row["messages"], tokenizer, row.get("tools"))
        if any(label != -100 for label in labels[1:]):
            # Nothing is before the first token that could foretell it.
            rows.append({"input_ids": ids, "labels": [-100, *labels[1:]]})
    return Dataset.from_list(rows)
