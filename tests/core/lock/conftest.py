from __future__ import annotations

import pytest

from slmstudio.core.lock import seccomp


@pytest.fixture
def linux() -> seccomp.Processor:
    processor = seccomp.here()
    if processor is None:
        pytest.skip("only Linux has such a lock")
    return processor
