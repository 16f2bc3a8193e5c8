"""What tests of several ranks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.forked_ranks import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Starts ranks in a second."""
    zygote = Zygote()
    yield zygote
    zygote.close()
