"""Versions of the libraries that are used here with publicly known security faults.

The table is not complete and does not grow on its own: it holds what matters for files and requests from outside, as
the advisories of the projects themselves say it (github.com/advisories, by the numbers given). The report names its
date, so that an old one is not taken for today's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    Advisory("torch", "2.10.0", "CVE-2025-32434 before 2.6.0, CVE-2026-24747", "run code when weights are unpickled"),
    Advisory("transformers", "4.48.0", "CVE-2024-11394", "run code when a model is loaded"),
    Advisory("llama-cpp-python", "0.2.72", "CVE-2024-34359", "run code from a GGUF's chat template"),
    Advisory("jinja2", "3.1.6", "CVE-2025-27516", "leave the sandbox of chat templates"),
    Advisory("starlette", "0.49.1", "CVE-2025-62727", "keep the server busy"),
    Advisory("h11", "0.16.0", "CVE-2025-43859", "smuggle a second request past the server"),
    Advisory("pyarrow", "14.0.1", "CVE-2023-47248", "run code when a table is read"),
    Advisory("nltk", "3.9", "CVE-2024-39705", "run code when its data are read"),
    Advisory("requests", "2.32.4", "CVE-2024-47081", "learn a password from .netrc"),
    Advisory("urllib3", "2.5.0", "CVE-2025-50181", "lead a download to another address"),
    Advisory("pillow", "10.3.0", "CVE-2024-28219", "overflow a buffer by an image"),
    Advisory("setuptools", "78.1.1", "CVE-2025-47273", "write a file outside of its folder"),
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
