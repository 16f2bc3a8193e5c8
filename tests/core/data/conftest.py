"""What the tests of reading share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slmstudio.core.data.reader import read_dataset
from slmstudio.core.errors import UserError


@pytest.fixture
def refusal() -> Callable[[Path], UserError]:
    """`refusal(path)`: the error of a file of which nothing can be used."""

    def read(path: Path) -> UserError:
        with pytest.raises(UserError) as caught:
            read_dataset(path)
        error = caught.value
        assert error.what
        assert error.remedy, "a person must learn what to do"
        json.dumps(error.to_dict(), ensure_ascii=False).encode()
        assert UserError.from_dict(error.to_dict()).problems == error.problems
        return error

    return read


@pytest.fixture
def refusal_of() -> Callable[[Callable[[], object]], UserError]:
    """`refusal_of(call)`: the error that a call ends with."""

    def call(wanted: Callable[[], object]) -> UserError:
        with pytest.raises(UserError) as caught:
            wanted()
        assert caught.value.what and caught.value.remedy
        return caught.value

    return call
