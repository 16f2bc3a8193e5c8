import json

from datasets import Dataset


def load_rows(file, tokenizer):
    """The rows of a file, in TRL's own layout; its trainer turns them into tokens."""
    lines = file.read_text(encoding="utf-8").split("\n")
    return Dataset.from_list([json.loads(line) for line in lines if line])
