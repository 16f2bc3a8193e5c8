"""Templates that ask for any amount of time or memory are stopped, and what honest ones do isn't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import hostile_templates, tiers
from support.hostile_templates import IN_REACH, TEMPLATES
from support.once import made_once
from support.tiers import first_fast

import slmstudio
from slmstudio.core.model.chat_template import ChatTemplate

MEGABYTES = 400
"""What one of them may take of the process that renders it."""
FAST = ("batch", "texts that are kept", "bytes", "squares")
"""Of each kind one: the others take minutes in all."""


def results(*names: str) -> dict[str, dict[str, Any]]:
    """All of them asked for by one process, which they must not bring down; made once in a session."""
    def make(folder: Path) -> None:
        ended = subprocess.run(
            [sys.executable, "-P", hostile_templates.__file__, *names], capture_output=True, encoding="utf-8",
            timeout=900, check=False, env={**os.environ, "PYTHONPATH": str(Path(slmstudio.__file__).parents[1])})
        assert ended.returncode == 0, ended.stderr
        found = [json.loads(line) for line in ended.stdout.splitlines()]
        (folder / "results.json").write_text(json.dumps({each["name"]: each for each in found}))

    kind = "fast" if names else "all"
    return json.loads((made_once(f"hostile-templates-{kind}", make) / "results.json").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
@pytest.mark.parametrize("name", first_fast([*FAST, *sorted(TEMPLATES.keys() - {*FAST})], len(FAST)))
def test_it_is_stopped(name: str) -> None:
    found = results(*(() if tiers.full else FAST))[name]
    assert ("The chat template was stopped" in found["said"]) == (name not in IN_REACH)
    assert found["megabytes"] < MEGABYTES
    assert found["seconds"] < 10


@pytest.mark.parametrize(("source", "text"), [
    ("{{ [1, 2, 3]|batch(2, 0)|list }}", "[[1, 2], [3, 0]]"),
    ("{{ [1, 2, 3]|slice(2)|list }}", "[[1, 2], [3]]"),
    ("{{ {'a': [1]}|tojson(indent=2) }}", '{\n  "a": [\n    1\n  ]\n}'),
    ("{{ {'a': 1, 'b': 2}|tojson(separators=(',', ':')) }}", '{"a":1,"b":2}'),
    ("{{ messages|map(attribute='content')|join(d=', ') }}", "a, b"),
    ("{{ messages|sum(attribute='n', start=1) }}", "4"),
    ("{{ 'a b'|title }} {{ 1.25|round(1) }} {{ 1.25|round(method='ceil')|int }} {{ '12'|int + 3 }}", "A B 1.2 2 15"),
    ("{{ 'a\nb'|indent(width=2, first=true) }}|{{ 'a'|center(width=3) }}|", "  a\n  b| a |"),
    ("{{ 'aXb'|replace('X', new='-') }} {{ 'a b'.split()|last }} {{ '-'.join(['a', 'b']) }}", "a-b b a-b"),
    ("{% set ns = namespace(n=1) %}{% for m in messages %}{% set ns.n = ns.n * 10 - 1 %}{% endfor %}{{ ns.n }}", "89"),
    ("{{ messages[1:][0].content }} {{ [1, 2] == [1, 2] }} {{ 'a' in ['a', 'b'] }} {{ 3 is divisibleby(3) }}",
     "b True True True"),
    ("{{ [0, 1, 2, 3, 4, 5, 6, 7, 8, 9][::-1]|first }} {{ (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)|last }}", "9 9"),
    ("{{ 'a\tb'.expandtabs(tabsize=2) }}{{ '{a:>3}'.format(a='b') }}{{ 'a,b'.split(sep=',')|last }}", "a b  bb"),
    ("{{ strftime_now('%d')|length }} {{ '%-4s|' % 'a' }} {{ '{:>3}'.format('a') }}", "2 a   |   a"),
])
def test_what_templates_do_stays_as_it_is(source: str, text: str) -> None:
    messages = [{"role": "user", "content": "a", "n": 1}, {"role": "assistant", "content": "b", "n": 2}]
    assert ChatTemplate(source).render(messages) == text
