"""Which rows an update sees, in which order, and how a micro-batch is laid out."""

from __future__ import annotations

import random

import pytest
import torch

from slmstudio.worker.training.batches import IGNORED, BatchOrder, PackedCollator, PaddedCollator

LENGTHS = [random.Random(0).randint(5, 400) for _ in range(230)]
EXAMPLES = [{"input_ids": [5, 6, 7], "labels": [5, IGNORED, 7], "row": 11},
            {"input_ids": [8, 9], "labels": [IGNORED, 9], "row": 4}]


def updates(micro: int, accumulation: int, epoch: int = 0, by_length: bool = True) -> list[list[int]]:
    order = BatchOrder(LENGTHS, micro, accumulation, 7, by_length)
    order.set_epoch(epoch)
    rows, size = list(order), micro * accumulation
    return [rows[i : i + size] for i in range(0, len(rows), size)]


@pytest.mark.parametrize("by_length", [True, False])
def test_halving_the_micro_batch_changes_no_update(by_length):
    assert updates(16, 1, 2, by_length) == updates(8, 2, 2, by_length) == updates(1, 16, 2, by_length)


def test_every_row_once_and_the_short_update_last():
    found = updates(8, 2)
    assert sorted(row for update in found for row in update) == list(range(len(LENGTHS)))
    assert [len(update) for update in found] == [16] * 14 + [6]


def test_micro_batches_hold_like_lengths():
    for update in updates(4, 4):
        lengths = [LENGTHS[row] for row in update]
        assert lengths == sorted(lengths, reverse=True)


def test_seed_and_epoch_decide():
    assert updates(8, 2, epoch=1) == updates(8, 2, epoch=1)
    assert updates(8, 2, epoch=1) != updates(8, 2, epoch=2)


def test_padded():
    batch = PaddedCollator(99)(EXAMPLES)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 99]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 7], [IGNORED, 9, IGNORED]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["row_lengths"] == [3, 2] and batch["rows"].tolist() == [11, 4]


def test_packed():
    batch = PackedCollator()(EXAMPLES)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 7, IGNORED, 9]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert batch["row_lengths"] == [3, 2] and batch["rows"].tolist() == [11, 4]
    assert "attention_mask" not in batch


def test_rows_without_a_line_have_none():
    batch = PackedCollator()([{"input_ids": [1, 2], "labels": [1, 2]}])
    assert "rows" not in batch and batch["labels"].dtype == torch.long
