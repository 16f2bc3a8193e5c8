from __future__ import annotations

import pytest

from slmstudio.core.lock import syscalls


@pytest.fixture
def linux() -> syscalls.Processor:
    processor = syscalls.here()
    if processor is None:
        pytest.skip("only Linux has such a lock")
    return processor
