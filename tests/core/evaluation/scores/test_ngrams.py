"""chrF++ and BLEU are sacrebleu's to the last digit that its command line prints, and ROUGE-L is rouge_score's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiers import examples

from slmstudio.core.evaluation.scores import ngrams
from slmstudio.core.evaluation.scores.matching import words
from slmstudio.core.evaluation.scores.ngrams import common_length, rouge_l_of_words

ANSWERS = ["The cat sat on the mat.", "पैंथर्स ने 308 अंक दिए।", "", "दो", "Nothing in common", "उत्तर: 24, \"ठीक\" है?"]
REFERENCES = [["The cat sat on a mat.", "A cat was on the mat."], ["पैंथर्स डिफ़ेंस ने 308 अंक दिए थे।"], ["empty"],
              ["दो", "२"], ["उत्तर"], ["उत्तर 24 \"ठीक\" है।", "24"]]


def command_line(folder: Path, answers: list[str], references: list[list[str]], *options: str) -> float:
    """What sacrebleu's own command prints, with all digits."""
    (folder / "answers.txt").write_text("\n".join(answers) + "\n", encoding="utf-8")
    names = []
    for i in range(max(map(len, references))):
        names.append(str(folder / f"references-{i}.txt"))
        lines = "\n".join(each[min(i, len(each) - 1)] for each in references)
        Path(names[-1]).write_text(lines + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", *names, "-i", str(folder / "answers.txt"), "-b", "-w", "8", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    return float(done.stdout)


def corpus(answers: list[str], references: list[list[str]], tokenizer: str = "13a") -> tuple[float, float]:
    rows = [ngrams.References(each, [tokenizer]) for each in references]
    chrf = np.array([row.chrf(answer) for row, answer in zip(rows, answers, strict=True)])
    bleu = np.array([row.bleu(answer, tokenizer) for row, answer in zip(rows, answers, strict=True)])
    return float(ngrams.chrf_score(chrf.sum(0))), float(ngrams.bleu_score(bleu.sum(0)))


def derived_answers(xquad: Path) -> tuple[list[str], list[list[str]]]:
    """Answers as a model half right would give them, from real Hindi rows: cut, repeated, mixed up, right."""
    rows = [json.loads(line) for line in xquad.read_text("utf-8").splitlines()[:300]]
    references = [" ".join(row["output"].split()) for row in rows]
    answers = []
    for i, (row, reference) in enumerate(zip(rows, references, strict=True)):
        words = row["input"].split()
        backwards = " ".join(reversed(reference.split()))
        answers.append([reference, " ".join(words[i % 7 : i % 7 + 9]), reference + "।", backwards,
                        f"उत्तर: {reference[: i % 11]}, \"हाँ\" (2016)."][i % 5])
    return answers, [[each] for each in references]


@pytest.mark.parametrize("tokenizer", ["13a", "intl"])
def test_scores_equal_the_command_line(tmp_path: Path, tokenizer: str) -> None:
    chrf, bleu = corpus(ANSWERS, REFERENCES, tokenizer)
    options = () if tokenizer == "13a" else ("-tok", tokenizer)
    assert bleu == pytest.approx(command_line(tmp_path, ANSWERS, REFERENCES, "-m", "bleu", *options), abs=1e-7)
    assert chrf == pytest.approx(command_line(tmp_path, ANSWERS, REFERENCES, "-m", "chrf", "--chrf-word-order", "2"),
                                 abs=1e-7)
    assert 0 < bleu < 100 and 0 < chrf < 100


def test_scores_of_real_hindi_rows_equal_the_command_line(data_dir: Path, tmp_path: Path) -> None:
    answers, references = derived_answers(data_dir / "xquad_hi_instructions.jsonl")
    chrf, bleu = corpus(answers, references)
    assert bleu == pytest.approx(command_line(tmp_path, answers, references, "-m", "bleu"), abs=1e-7)
    assert chrf == pytest.approx(command_line(tmp_path, answers, references, "-m", "chrf", "--chrf-word-order", "2"),
                                 abs=1e-7)
    assert 20 < chrf < 80


TEXTS = st.lists(st.text("ab कख।.,1 ", max_size=12), min_size=1, max_size=4)


@settings(deadline=None, max_examples=examples(150))
@given(answers=TEXTS, wanted=TEXTS)
def test_scores_equal_the_library_on_any_text(answers: list[str], wanted: list[str]) -> None:
    import sacrebleu

    references = [[wanted[i % len(wanted)] or "x"] for i in range(len(answers))]
    chrf, bleu = corpus(answers, references)
    flat = [[each[0] for each in references]]
    assert chrf == pytest.approx(sacrebleu.corpus_chrf(answers, flat, word_order=2).score, abs=1e-9)
    assert bleu == pytest.approx(sacrebleu.corpus_bleu(answers, flat, force=True).score, abs=1e-9)
    row = ngrams.References(references[0])
    assert float(ngrams.bleu_row_score(np.array(row.bleu(answers[0])))) == pytest.approx(
        sacrebleu.sentence_bleu(answers[0], references[0]).score, abs=1e-9)


def test_the_danda_parts_words_for_the_international_tokenizer_only() -> None:
    row = ngrams.References(["वह घर गया।"], ["13a", "intl"])
    assert row.bleu("वह घर गया", "13a")[2] == 2
    assert row.bleu("वह घर गया", "intl")[2] == 3


WORDS = st.lists(st.sampled_from("abcde"), max_size=25)


def slow_common_length(first: list[str], second: list[str]) -> int:
    """As in every textbook."""
    row = [0] * (len(second) + 1)
    for one in first:
        above = row[:]
        for j, other in enumerate(second):
            row[j + 1] = above[j] + 1 if one == other else max(above[j + 1], row[j])
    return row[-1]


def rouge_l(answer: str, references: list[str]) -> float:
    return rouge_l_of_words(words(answer), list(map(words, references)))


@given(WORDS, WORDS)
def test_the_fast_subsequence_is_the_textbook_one(first: list[str], second: list[str]) -> None:
    assert common_length(first, second) == slow_common_length(first, second)


@given(st.lists(st.sampled_from(["the", "Cat", "sat", "on", "mat.", "42", "now,"]), min_size=1, max_size=15),
       st.lists(st.sampled_from(["the", "cat", "sat", "under", "mat", "42"]), min_size=1, max_size=15))
def test_english_equals_rouge_score(answer: list[str], reference: list[str]) -> None:
    from rouge_score.rouge_scorer import RougeScorer  # two seconds, which each process of tests would take

    wanted = RougeScorer(["rougeL"]).score(" ".join(reference), " ".join(answer))["rougeL"].fmeasure
    assert rouge_l(" ".join(answer), [" ".join(reference)]) == pytest.approx(wanted)


def test_hindi_counts() -> None:
    assert rouge_l("राम घर गया।", ["राम अपने घर गया"]) == pytest.approx(2 * 3 / 7)
    assert rouge_l("राम घर गया", ["कुछ और", "राम घर गया।"]) == 1
    assert rouge_l("", ["राम"]) == rouge_l("राम", ["।"]) == 0
