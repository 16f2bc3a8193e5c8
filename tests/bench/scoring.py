"""How long the scores of many answers take: two models, questions in Hindi and English, all scores with intervals.

    python tests/bench/scoring.py [--rows 2000 20000] [--json]

Prints the seconds of the rows (counting n-grams), of intervals and tests (the same for any number above 2,000), and how
long Cancel would have had to wait at most.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import evaluated_runs

from slmstudio.core.evaluation import scoring


def measure(rows: int, place: Path) -> dict[str, Any]:
    """Seconds of scoring an evaluation of so many rows."""
    run = place / str(rows)
    run.mkdir()
    job = evaluated_runs.write(run, count=rows, finished=False)
    for number, answer in enumerate((evaluated_runs.base_answer, evaluated_runs.tuned_answer)):
        evaluated_runs.files.write_atomically(job.folder / f"answers-{number}.jsonl", b"".join(
            evaluated_runs.files.dump_line({"id": row["id"], "answer": answer(row), "tokens": 12, "seconds": 0.5,
                                            "finish": "stop", "reference_nats": [30.0], "reference_tokens": [15],
                                            "choice_logprobs": None, "skipped": None})
            for row in evaluated_runs.items(rows)))
    asked: list[tuple[float, int]] = [(time.perf_counter(), 0)]
    scoring.score(job.folder, lambda done, total: asked.append((time.perf_counter(), done)))
    end = time.perf_counter()
    counted = next(moment for moment, done in asked if done == rows)
    return {"rows": rows, "models": 2, "rows_seconds": round(counted - asked[0][0], 2),
            "intervals_seconds": round(end - counted, 2),
            "longest_wait_seconds": round(max(later - earlier for (earlier, _), (later, _) in zip(
                asked, [*asked[1:], (end, rows)], strict=True)), 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = [measure(rows, Path(place)) for rows in options.rows]
    if options.json:
        print(json.dumps(found))
    else:
        for each in found:
            print(f"{each['rows']:>7,} rows: {each['rows_seconds']:.1f} s counting, {each['intervals_seconds']:.1f} s "
                  f"intervals and tests; Cancel waits {each['longest_wait_seconds']:.1f} s at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
