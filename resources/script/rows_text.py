import json

from datasets import Dataset


def load_rows(file, tokenizer):
    """The rows of a file as token ids, all of them learned: as many pieces as a text's length takes."""
    rows = []
    for line in file.read_text(encoding="utf-8").split("\n"):
        if not line:
            continue
        ids = tokenizer(json.loads(line)["text"], add_special_tokens=True)["input_ids"]
        if tokenizer.eos_token_id is not None and ids[-1:] != [tokenizer.eos_token_id]:
            ids = [*ids, tokenizer.eos_token_id]
        for start in range(0, len(ids), MAX_LENGTH):
            piece = ids[start : start + MAX_LENGTH]
            if len(piece) > 1:
                # Nothing is before the first token that could foretell it.
                rows.append({"input_ids": piece, "labels": [-100, *piece[1:]]})
    return Dataset.from_list(rows)
