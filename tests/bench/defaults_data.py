"""The rows that `defaults.py` tries the plan on, made from what is installed, from the repository and from one source
archive of the package index: helpdesk answers, sums, Hindi passages, translations into Hindi, long explanations and
classes.

    python tests/bench/defaults_data.py FOLDER [--vader ARCHIVE]

Writes NAME.jsonl and NAME-final.jsonl for each: rows to learn, and rows that no run learns, by which runs are compared.
`--vader` is the source archive of vaderSentiment 3.3.2 (MIT), which holds 10,605 sentences of film reviews with ratings
by people; without it there are no classes.
"""

from __future__ import annotations

import argparse
import inspect
import io
import json
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"sample": (120, 50), "gsm8k": (100, 40), "xquad-hi": (100, 40), "translate-hi": (120, 60),
         "explain": (100, 30), "classes": (160, 120), "translate-hi-2000": (2_000, 100)}
"""Rows to learn, and rows to compare by."""
LONGEST_PASSAGE = 620
"""Characters: a model whose vocabulary has no Devanagari needs almost a token for each."""

Row = dict[str, str]


def sample() -> list[Row]:
    return _lines(ROOT / "resources/starter/helpdesk_train.jsonl")


def gsm8k() -> list[Row]:
    return _lines(ROOT / "tests/data/gsm8k_train.jsonl")


def xquad_hi() -> list[Row]:
    return [row for row in _lines(ROOT / "tests/data/xquad_hi_instructions.jsonl")
            if len(row["input"]) <= LONGEST_PASSAGE]


def translate_hi() -> list[Row]:
    """Sentences of this program, and their Hindi."""
    from babel.messages import pofile

    with (ROOT / "resources/translations/hi.po").open("rb") as file:
        catalogue = pofile.read_po(file)
    return [{"instruction": "Translate into Hindi.", "input": message.id, "output": message.string}
            for message in catalogue
            if isinstance(message.id, str) and isinstance(message.string, str) and message.string
            and 15 < len(message.id) < 200]


def explain() -> list[Row]:
    """What functions of NumPy do, by their documentation."""
    import numpy

    places = (numpy, numpy.linalg, numpy.fft, numpy.ma, numpy.random, numpy.char)
    functions = {name: getattr(place, name) for place in places for name in dir(place) if not name.startswith("_")}
    rows = []
    for name, function in sorted(functions.items()):
        text = inspect.getdoc(function) or "" if callable(function) else ""
        answer = " ".join(text.split("Examples\n----")[0].split("\n", 1)[-1].split()[:140])
        if len(answer.split()) >= 80:
            rows.append({"instruction": f"What does NumPy's {name} do, and what are its arguments?", "output": answer})
    return rows


def classes(archive: Path) -> list[Row]:
    """Sentences of film reviews: good or bad."""
    with tarfile.open(archive) as outer:
        inner = next(each for each in outer.getmembers() if each.name.endswith("hutto_ICWSM_2014.tar.gz"))
        content = outer.extractfile(inner)
        assert content is not None
        with tarfile.open(fileobj=io.BytesIO(content.read())) as files:
            lines = files.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")
            assert lines is not None
            rated = [line.split("\t") for line in lines.read().decode("utf-8", "replace").splitlines()]
    return [{"instruction": "Is this review good or bad?", "input": text,
             "output": "good" if float(rate) > 0 else "bad"} for _, rate, text in rated if abs(float(rate)) > 1]


def write(folder: Path, archive: Path | None) -> list[str]:
    """Returns: the names of what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"sample": sample, "gsm8k": gsm8k, "xquad-hi": xquad_hi, "translate-hi": translate_hi, "explain": explain}
    for name, rows in _all(made, archive):
        learned, final = SIZES[name]
        drawn = random.Random(0).sample(rows, len(rows))
        _write(folder / f"{name}-final.jsonl", drawn[:final])
        _write(folder / f"{name}.jsonl", drawn[final : final + learned])
    return sorted(path.stem for path in folder.glob("*.jsonl") if not path.stem.endswith("-final"))


def _all(made: dict[str, object], archive: Path | None) -> Iterator[tuple[str, list[Row]]]:
    for name, function in made.items():
        yield name, function()  # type: ignore[operator]
    yield "translate-hi-2000", translate_hi()
    if archive is not None:
        yield "classes", classes(archive)


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _write(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vader", type=Path)
    options = parser.parse_args()
    print(*write(options.folder, options.vader), sep="\n")
