"""A multiple-choice set in MMLU's layout that the tests make up: four subjects, as many questions as wanted."""

from __future__ import annotations

import csv
import random
from pathlib import Path

STATES = {"Maharashtra": "Mumbai", "Kerala": "Thiruvananthapuram", "Punjab": "Chandigarh", "Bihar": "Patna",
          "Gujarat": "Gandhinagar", "Assam": "Dispur", "Odisha": "Bhubaneswar", "Karnataka": "Bengaluru",
          "Tamil Nadu": "Chennai", "West Bengal": "Kolkata", "Rajasthan": "Jaipur", "Telangana": "Hyderabad"}
COLOURS = {"लाल": "red", "नीला": "blue", "हरा": "green", "पीला": "yellow", "काला": "black", "सफ़ेद": "white"}


def _elementary_mathematics(chance: random.Random) -> tuple[str, str, list[str]]:
    first, second = chance.randrange(2, 60), chance.randrange(2, 60)
    near = [str(first + second + off) for off in chance.sample([-10, -2, -1, 1, 2, 10], 3)]
    return f"What is {first} + {second}?", str(first + second), near


def _geography(chance: random.Random) -> tuple[str, str, list[str]]:
    state = chance.choice(list(STATES))
    others = chance.sample([city for city in STATES.values() if city != STATES[state]], 3)
    return f"Which city is the capital of {state}, \"a state of India\"?", STATES[state], others


def _hindi(chance: random.Random) -> tuple[str, str, list[str]]:
    word = chance.choice(list(COLOURS))
    return f"'{word}' को अंग्रेज़ी में क्या कहते हैं? ({chance.randrange(1000)})", COLOURS[word], chance.sample(
        [colour for colour in COLOURS.values() if colour != COLOURS[word]], 3)


def _formal_logic(chance: random.Random) -> tuple[str, str, list[str]]:
    names = chance.sample(["Asha", "Ravi", "Meera", "John", "Fatima", "Dev"], 4)
    return (f" {names[0]} is taller than {names[1]}, {names[1]} than {names[2]},\nand {names[2]} than {names[3]}. "
            "Who is the shortest? "), names[3], names[:3]


SUBJECTS = {"elementary_mathematics": _elementary_mathematics, "high_school_geography": _geography,
            "hindi_words": _hindi, "formal_logic": _formal_logic}


def write(folder: Path, questions: int = 52, examples: int = 5, seed: int = 0) -> Path:
    """dev/ and test/ of four subjects, as Hendrycks et al. distribute them: no header, commas, quotes where needed."""
    chance = random.Random(seed)
    for subject, make in SUBJECTS.items():
        for split, count in (("dev", examples), ("test", questions)):
            path = folder / split / f"{subject}_{split}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "w", encoding="utf-8", newline="") as file:
                for _ in range(count):
                    question, good, bad = make(chance)
                    choices = [good, *bad]
                    chance.shuffle(choices)
                    csv.writer(file).writerow([question, *choices, "ABCD"[choices.index(good)]])
    return folder
