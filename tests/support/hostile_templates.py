"""Chat templates that ask for any amount of time or memory.

    python tests/support/hostile_templates.py [NAMES]

has all of them rendered, or those named, and prints a line of JSON for each: what was said, and the processor time and
the memory that this process and those that it started have taken.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

NS = "{% set ns = namespace(x=[1], y=[1], n=10, s='a') %}"
LOOP = "{% for i in range(60) %}"
END = "{% endfor %}"
TEMPLATES: dict[str, str] = {
    # Filters whose argument says how much they make.
    "batch": "{{ [1]|batch(100000000, 'x')|list|length }}",
    "batch by name": "{{ [1]|batch(linecount=100000000, fill_with='x')|list|length }}",
    "slice": "{{ messages|slice(300000000)|list|length }}",
    "slice while compiling": "{{ 'a'|slice(100000000)|list|length }}",
    "slice by name": "{{ [1]|slice(slices=300000000)|list|length }}",
    "indented JSON": "{{ [[1],[2]]|tojson(indent=300000000) }}",
    "JSON indented by text": "{{ messages|tojson(indent=' '*80000000)|length }}",
    "JSON with separators": "{{ (range(100000)|list)|tojson(separators=('x'*8000, 'x'*8000))|length }}",
    "a folded list": "{{ range(100000)|list|tojson(indent=1000000)|length }}",
    "rounding": "{{ 1|round(400000000, 'ceil') }}",
    "joined iterator": "{{ range(100000)|map('string')|join('x'*8000)|length }}",
    "joined by a method": "{{ ('x'*8000).join(range(100000)|map('string'))|length }}",
    "width of many fields": "{{ ('%999999d'*5000) % ((1,)*5000) }}",
    "width by a method": "{{ ('{0:>999999}'*5000).format(1)|length }}",
    "tabs by name": "{{ '\\t'.expandtabs(tabsize=1500000000)|length }}",
    "fields by name": "{{ ('{a}'*250).format(a='x'*6000000)|length }}",
    "parts by name": "{{ ('a '*300000000).split(sep=' ')|length }}",
    "lines of another kind": "{{ ('\x0b'*600000000).splitlines()|length }}",
    "width of a date": "{{ strftime_now('%999999999d') }}",
    # Each step is small, and there are many.
    "map to center": "{{ range(1000)|map('center', 5000000)|list|length }}",
    "map to join": "{{ ([['a']*1000]*5000)|map('join', 'x'*8000)|list|length }}",
    "map to indent": "{{ (['a']*5000)|map('indent', 8000000, true)|list|length }}",
    "map to JSON": "{{ ([[1,2,3]]*5000)|map('tojson', indent=1000000)|list|length }}",
    "map to list": "{{ ([[1]*1000000]*1000)|map('list')|list|length }}",
    "map to batch": "{{ ([[1]]*1000)|map('batch', 1000000, 'x')|map('list')|list|length }}",
    "map to upper": "{{ (['a'*8000000]*1000)|map('upper')|list|length }}",
    "texts that are kept": f"{NS}{{% for i in range(1000) %}}{{% set ns.x = ns.x + ['a'*8000000 ~ i] %}}{END}",
    "slices that are kept": f"{NS}{{% set a = 'a'*8000000 %}}{{% for i in range(1000) %}}"
                             f"{{% set ns.x = [ns.x, a[1:]] %}}{END}",
    "lists that are kept": f"{NS}{{% for i in range(10000) %}}{{% set ns.x = [ns.x, [{'i,' * 20_000}]] %}}{END}",
    "arguments that are kept": f"{NS}{{% for i in range(1000) %}}"
                                f"{{% set ns.x = [ns.x, cycler(*range(99999))] %}}{END}",
    # Bytes and numbers.
    "bytes": "{{ (messages[0].content.encode() * 500000000)|length }}",
    "bytes while compiling": "{{ ('a'.encode() * 1000000000)|length }}",
    "bytes of a number": "{{ (5).to_bytes(2000000000, 'big')|length }}",
    "squares": f"{NS}{LOOP}{{% set ns.n = ns.n * ns.n %}}{END}",
    "sums": f"{NS}{{% for i in range(99999) %}}{{% for j in range(99999) %}}{{% set ns.n = ns.n + ns.n %}}{END}{END}",
    "powers": f"{NS}{LOOP}{{% set ns.n = ns.n ** 2 %}}{END}",
    "a number of many digits": "{{ ('f'*4000000)|int(0, 16) }}",
    # Lists in lists.
    "adding up lists": "{{ ([range(9999)|list]*90000)|sum(start=[])|length }}",
    "lists in lists": f"{NS}{LOOP}{{% set ns.x = [ns.x, ns.x] %}}{END}{{{{ ns.x|string|length }}}}",
    "deep lists in lists": f"{NS}{{% for i in range(160) %}}{{% set ns.x = [ns.x] if i > 60 else [ns.x, ns.x] %}}{END}"
                            "{{ ns.x|tojson|length }}",
    "joined lists in lists": f"{NS}{LOOP}{{% set ns.x = [ns.x, ns.x] %}}{END}{{{{ (ns.x ~ '')|length }}}}",
    "comparing lists": f"{NS}{LOOP}{{% set ns.x = [ns.x, ns.x] %}}{{% set ns.y = [ns.y, ns.y] %}}{END}"
                        "{{ ns.x == ns.y }}",
    "testing lists": f"{NS}{LOOP}{{% set ns.x = [ns.x, ns.x] %}}{{% set ns.y = [ns.y, ns.y] %}}{END}"
                      "{{ ns.x is equalto(ns.y) }}",
    # The source itself.
    "a long source": "{{ " + "1+" * 200_000 + "1 }}",
    "words of a long text": "{{ ('a '*400000000).split()|length }}",
}
IN_REACH = ("width of a date", "a number of many digits")
"""Those that Python itself gives up, so that they end in text or another error."""


def main(names: list[str]) -> None:
    import resource

    from slmstudio.core.errors import UserError
    from slmstudio.core.model import template_client
    from slmstudio.core.model.chat_template import ChatTemplate

    def seconds() -> float:
        return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])

    def peak() -> int:
        """Megabytes of this process or of its largest child. The process's own `ru_maxrss` begins with its parent's."""
        own = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
        return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 2**10

    for name in names or TEMPLATES:
        began, said = seconds(), ""
        try:
            ChatTemplate(TEMPLATES[name]).render([{"role": "user", "content": "a"}], True)
        except UserError as error:
            said = str(error)
        template_client.close()  # so that it is counted
        print(json.dumps({"name": name, "said": said, "seconds": round(seconds() - began, 2),
                          "megabytes": peak()}), flush=True)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
    main(sys.argv[1:])
