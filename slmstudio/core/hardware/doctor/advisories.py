"""Versions of the libraries that are used here with publicly known security faults.

The table isn't complete and doesn't grow on its own: it holds what matters for files and requests from outside, as
the advisories of the projects themselves say it (github.com/advisories, by the numbers given). The report names its
date, so that an old one isn't taken for today's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slmstudio.core.i18n import noop

DATE = "2026-11-27"


@dataclass(frozen=True)
class Advisory:
    """A known fault.

    Attributes:
        package: normalized name.
        fixed: the first version without it.
        number: of the advisory, or of several.
        what: may happen, as the end of "a file or a request may …".
    """

    package: str
    fixed: str
    number: str
    what: str


KNOWN = (
    Advisory("torch", "2.10.0", "CVE-2025-32434 before 2.6.0, CVE-2026-24747",
             noop("a weights file may run code when it's loaded")),
    Advisory("transformers", "4.48.0", "CVE-2024-11394", noop("a model may run code when it's loaded")),
    Advisory("llama-cpp-python", "0.2.72", "CVE-2024-34359", noop("a GGUF's chat template may run code")),
    Advisory("jinja2", "3.1.6", "CVE-2025-27516", noop("a chat template may escape its sandbox")),
    Advisory("starlette", "0.49.1", "CVE-2025-62727", noop("a request may block the server")),
    Advisory("h11", "0.16.0", "CVE-2025-43859", noop("a request may smuggle a second one past the server")),
    Advisory("pyarrow", "14.0.1", "CVE-2023-47248", noop("a table may run code when it's read")),
    Advisory("nltk", "3.9", "CVE-2024-39705", noop("the library's data may run code when it's read")),
    Advisory("requests", "2.32.4", "CVE-2024-47081", noop("a web address may get a password from .netrc")),
    Advisory("urllib3", "2.5.0", "CVE-2025-50181", noop("a download may be redirected to another address")),
    Advisory("pillow", "10.3.0", "CVE-2024-28219", noop("an image may overflow a buffer")),
    Advisory("setuptools", "78.1.1", "CVE-2025-47273", noop("a package may write files outside its folder")),
)


def found(versions: Mapping[str, str]) -> list[Advisory]:
    """Those that concern installed packages.

    Args:
        versions: by normalized name.
    """
    from packaging.version import InvalidVersion, Version

    hits = []
    for advisory in KNOWN:
        try:
            if Version(versions[advisory.package]) < Version(advisory.fixed):
                hits.append(advisory)
        except (KeyError, InvalidVersion):
            continue
    return hits
