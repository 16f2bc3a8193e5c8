"""Chat templates that ask for any amount of time or memory, each with a word of what stops it.

    python tests/support/hostile_templates.py

renders all of them in one process and prints a line of JSON for each: what was said, and the memory that it took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

NS = "{% set ns = namespace(x=[1], y=[1], n=10, s='a') %}"
LOOP = "{% for i in range(60) %}"
END = "{% endfor %}"
TEMPLATES: dict[str, tuple[str, str]] = {
    # Filters whose argument says how much they make.
    "batch": ("{{ [1]|batch(100000000, 'x')|list|length }}", "a list of more than 1,000,000 items"),
    "batch by name": ("{{ [1]|batch(linecount=100000000, fill_with='x')|list|length }}", "more than 1,000,000 items"),
    "slice": ("{{ messages|slice(300000000)|list|length }}", "a list of more than 1,000,000 items"),
    "slice while compiling": ("{{ 'a'|slice(100000000)|list|length }}", "a list of more than 1,000,000 items"),
    "slice by name": ("{{ [1]|slice(slices=300000000)|list|length }}", "more than 1,000,000 items"),
    "indented JSON": ("{{ [[1],[2]]|tojson(indent=300000000) }}", "characters of text"),
    "JSON indented by text": ("{{ messages|tojson(indent=' '*8000000)|length }}", "characters of text"),
    "JSON with separators": ("{{ (range(100000)|list)|tojson(separators=('x'*8000, 'x'*8000))|length }}",
                             "characters of text"),
    "a folded list": ("{{ range(100000)|list|tojson(indent=1000000)|length }}", "characters of text"),
    "rounding": ("{{ 1.5|round(400000000) }}", "rounds to too many digits"),
    "joined iterator": ("{{ range(100000)|map('string')|join('x'*8000)|length }}", "characters of text"),
    "joined by a method": ("{{ ('x'*8000).join(range(100000)|map('string'))|length }}", "characters of text"),
    "width of many fields": ("{{ ('%999999d'*5000) % ((1,)*5000) }}", "characters of text"),
    "width by a method": ("{{ ('{0:>999999}'*5000).format(1)|length }}", "characters of text"),
    "tabs by name": ("{{ '\\t'.expandtabs(tabsize=1500000000)|length }}", "characters of text"),
    "fields by name": ("{{ ('{a}'*250).format(a='x'*6000000)|length }}", "characters of text"),
    "parts by name": ("{{ ('a '*3000000).split(sep=' ')|length }}", "more than 1,000,000 items"),
    "lines of another kind": ("{{ ('\x0b'*6000000).splitlines()|length }}", "more than 1,000,000 items"),
    "width of a date": ("{{ strftime_now('%999999999d') }}", "too long a date"),
    # Each step is small, and there are many.
    "map to center": ("{{ range(1000)|map('center', 5000000)|list|length }}", "characters on the way"),
    "map to join": ("{{ ([['a']*1000]*5000)|map('join', 'x'*8000)|list|length }}", "characters on the way"),
    "map to indent": ("{{ (['a']*5000)|map('indent', 8000000, true)|list|length }}", "characters on the way"),
    "map to JSON": ("{{ ([[1,2,3]]*5000)|map('tojson', indent=1000000)|list|length }}", "characters on the way"),
    "map to list": ("{{ ([[1]*1000000]*1000)|map('list')|list|length }}", "characters on the way"),
    "map to batch": ("{{ ([[1]]*1000)|map('batch', 1000000, 'x')|map('list')|list|length }}", "characters on the way"),
    "map to upper": ("{{ (['a'*8000000]*1000)|map('upper')|list|length }}", "characters on the way"),
    "texts that are kept": (f"{NS}{{% for i in range(1000) %}}{{% set ns.x = ns.x + ['a'*8000000] %}}{END}",
                            "characters on the way"),
    "slices that are kept": (f"{NS}{{% set a = 'a'*8000000 %}}{{% for i in range(1000) %}}"
                             f"{{% set ns.x = [ns.x, a[1:]] %}}{END}", "characters on the way"),
    "lists that are kept": (f"{NS}{{% for i in range(1000) %}}{{% set ns.x = [ns.x, [{'i,' * 20_000}]] %}}{END}",
                            "characters on the way"),
    "arguments that are kept": (f"{NS}{{% for i in range(1000) %}}"
                                f"{{% set ns.x = [ns.x, cycler(*range(99999))] %}}{END}", "characters on the way"),
    # Bytes and numbers.
    "bytes": ("{{ (messages[0].content.encode() * 500000000)|length }}", "makes bytes"),
    "bytes while compiling": ("{{ ('a'.encode() * 1000000000)|length }}", "makes bytes"),
    "bytes of a number": ("{{ (5).to_bytes(2000000000, 'big')|length }}", "access to attribute 'to_bytes'"),
    "squares": (f"{NS}{LOOP}{{% set ns.n = ns.n * ns.n %}}{END}", "too large a number"),
    "sums": (f"{NS}{{% for i in range(99999) %}}{{% set ns.n = ns.n + ns.n %}}{END}", "too large a number"),
    "powers": (f"{NS}{LOOP}{{% set ns.n = ns.n ** 2 %}}{END}", "too high a power"),
    "a number of many digits": ("{{ ('f'*4000000)|int(0, 16) }}", "too large a number"),
    # Lists in lists.
    "adding up lists": ("{{ ([range(9)|list]*900)|sum(start=[])|length }}", "adds up lists"),
    "lists in lists": (f"{NS}{LOOP}{{% set ns.x = [ns.x, ns.x] %}}{END}{{{{ ns.x|string|length }}}}",
                       "characters of text"),
    "deep lists in lists": (f"{NS}{{% for i in range(160) %}}{{% set ns.x = [ns.x] if i > 60 else [ns.x, ns.x] %}}{END}"
                            "{{ ns.x|tojson|length }}", "more than 100 levels deep"),
    "joined lists in lists": (f"{NS}{LOOP}{{% set ns.x = [ns.x, ns.x] %}}{END}{{{{ (ns.x ~ '')|length }}}}",
                              "characters of text"),
    "comparing lists": (f"{NS}{LOOP}{{% set ns.x = [ns.x, ns.x] %}}{{% set ns.y = [ns.y, ns.y] %}}{END}"
                        "{{ ns.x == ns.y }}", "characters of text"),
    "testing lists": (f"{NS}{LOOP}{{% set ns.x = [ns.x, ns.x] %}}{{% set ns.y = [ns.y, ns.y] %}}{END}"
                      "{{ ns.x is equalto(ns.y) }}", "characters of text"),
    # The source itself.
    "a long source": ("{{ " + "1+" * 200_000 + "1 }}", "longer than 250,000 characters"),
    "words of a long text": ("{{ ('a '*4000000).split()|length }}", "more than 1,000,000 items"),
}


def main() -> None:
    from slmstudio.core.errors import UserError
    from slmstudio.core.model.chat_template import ChatTemplate

    for name, (source, _) in TEMPLATES.items():
        began, said = time.process_time(), ""
        try:
            ChatTemplate(source).render([{"role": "user", "content": "a"}], True)
        except UserError as error:
            said = str(error)
        status = Path("/proc/self/status")
        peak = int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024 if status.exists() else 0
        print(json.dumps({"name": name, "said": said, "megabytes": peak,
                          "seconds": round(time.process_time() - began, 2)}), flush=True)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
    main()
