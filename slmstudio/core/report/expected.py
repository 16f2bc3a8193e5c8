"""What the report expects of files that it didn't write: what doesn't fit is left out, and named."""

from __future__ import annotations

from typing import Any

from slmstudio.core.i18n import KEY, ntr, tr

NUMBER, SCALAR, TREE = (int, float), (str, int, float), (dict, list)
SCORE = {"value": NUMBER, "low": NUMBER, "high": NUMBER, "rows": NUMBER}
COMPARISON = {"of": str, "with": str, "metric": str, "difference": NUMBER, "low": NUMBER, "high": NUMBER, "p": NUMBER,
              "rows": NUMBER, "rows_needed": NUMBER, "verdict": str, "sentence": str}
_GROUPS = {"*": {"*": SCORE}}
SCORES = {
    "test": {"path": str, "sha256": str, "rows": NUMBER, "kinds": {"*": NUMBER}, "trained_on": NUMBER},
    "models": [{"name": str, "rows": NUMBER, "skipped": NUMBER, "scores": {"*": SCORE}, "by_category": _GROUPS,
                "by_language": _GROUPS, "by_training": _GROUPS, "speed": {"mark": str, "*": NUMBER}}],
    "comparisons": [COMPARISON], "group_comparisons": {"*": {"*": [COMPARISON]}}, "remarks": [str], "judge": TREE,
    "benchmarks": [{"name": str, "title": str, "shots": NUMBER, "limit": NUMBER, "data": str, "sentence": str,
                    "models": [{"name": str, "accuracy": SCORE, "by_subject": {"*": SCORE}}],
                    "comparisons": [COMPARISON]}],
}
"""scores.json of an evaluation."""
PARITY = {"type": str, "sha256": str, "verdict": str, "passed": bool, "failures": [SCALAR],
          "checks": [{"name": str, "figure": SCALAR, "limit": SCALAR, "passed": bool}]}
"""NAME.parity.json of an export."""
RECORD = {"hashes": {"*": SCALAR}, "versions": {"*": SCALAR}, "reasons": {KEY: TREE, "*": SCALAR}}
"""What run.json holds beside the fields."""
MOST_NAMED = 5


def fit(value: Any, shape: Any, lost: list[str], where: str = "") -> Any:
    """The value without what has another shape; null fits everywhere, and keys that no shape names stay.

    Args:
        shape: a type or several; [shape] for a list; {key: shape} for an object, "*" for all other keys.
        lost: paths of what was left out are added, such as "models.0.name".
        where: path of the value.

    Returns:
        The value; None if it doesn't fit as a whole.
    """
    if value is None:
        return None
    if isinstance(shape, dict) and isinstance(value, dict):
        found = {key: fit(each, shape.get(key, shape.get("*", object)), lost, f"{where}.{key}".lstrip("."))
                 for key, each in value.items()}
        return {key: each for key, each in found.items() if each is not None or value[key] is None}
    if isinstance(shape, list) and isinstance(value, list):
        fitted = [fit(each, shape[0], lost, f"{where}.{place}".lstrip(".")) for place, each in enumerate(value)]
        return [each for each in fitted if each is not None]
    if not isinstance(shape, dict | list) and isinstance(value, shape) and (
            shape in (object, bool, TREE) or not isinstance(value, bool)):
        return value
    lost.append(where or tr("everything"))
    return None


def sentence(file: str, lost: list[str]) -> str:
    """What is said about a file from which something was left out."""
    names = ", ".join(lost[:MOST_NAMED])
    if len(lost) > MOST_NAMED:
        names = ntr("{names} and {n:,} more", "{names} and {n:,} more", len(lost) - MOST_NAMED, names=names)
    return tr("{file} is damaged. Entries that made no sense are left out here: {names}.", file=file, names=names)
