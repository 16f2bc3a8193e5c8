import json

from datasets import Dataset


def load_rows(file, tokenizer):
    """The rows of a file, which are token ids and labels already: -100 is not learned."""
    rows = []
    for line in file.read_text(encoding="utf-8").split("\n"):
        if line:
            row = json.loads(line)
            # Nothing is before the first token that could foretell it.
            rows.append({"input_ids": row["input_ids"], "labels": [-100, *row["labels"][1:]]})
    return Dataset.from_list(rows)
