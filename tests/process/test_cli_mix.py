"""Mixing datasets in the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def slmstudio(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "slmstudio", *map(str, arguments)], cwd=ROOT, capture_output=True,
                          text=True, timeout=110, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_files_are_mixed_by_their_weights(tmp_path: Path, studio_home: Path):
    for name, rows in (("a", 10), ("b=c", 4)):
        (tmp_path / f"{name}.jsonl").write_text("".join(
            json.dumps({"instruction": f"{name} {n}", "output": "x"}) + "\n" for n in range(rows)), encoding="utf-8")
    out = tmp_path / "mix.jsonl"
    done = slmstudio("data", "mix", f"{tmp_path / 'a.jsonl'}=0.5", tmp_path / "b=c.jsonl", "--out", out, "--seed", 3,
                     "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["rows"] == {"a.jsonl": 5, "b=c.jsonl": 4}
    assert len(out.read_text(encoding="utf-8").splitlines()) == 9
    lineage = json.loads((tmp_path / "mix.jsonl.lineage.json").read_text(encoding="utf-8"))
    assert [each["source"] for each in lineage["sources"]] == ["a.jsonl", "b=c.jsonl"] and lineage["seed"] == 3
    wrong = slmstudio("data", "mix", f"{tmp_path / 'a.jsonl'}=many", tmp_path / "b=c.jsonl", "--out", out)
    assert wrong.returncode == 2 and "“many” isn't a weight" in wrong.stderr
