"""What the report says of the loss on held-out rows where it was measured once, or is no number."""

from __future__ import annotations

import math

import pytest
from support.report_run import ReportRun


@pytest.mark.parametrize(("losses", "said"), [
    ([2.31], "wasn't measured before and after"),
    ([2.31, math.nan], "wasn't a number at the end"),
    ([math.nan, 1.5], "wasn't a number at the start"),
    ([2.31, 1.5], "fell from 2.310 to 1.500 (−35%)")])
def test_the_first_loss_is_never_told_as_the_last(tmp_path, page, losses, said):
    run = ReportRun(tmp_path)
    run.start()
    for number, loss in enumerate(losses):
        run.tell("eval", global_step=20 * number, eval_loss=loss)
    text = page(run.folder).text
    assert said in text and "(+0%)" not in text and "2.310 → 2.310" not in text
