from __future__ import annotations

import pytest

from slmstudio.core.lock import program


@pytest.fixture
def linux() -> program.Processor:
    processor = program.here()
    if processor is None:
        pytest.skip("only Linux has such a lock")
    return processor
