"""Rows as tokens, kept for the next run that learns the same rows with the same tokenizer, template and length.

    cache/tokens/KEY/rows.arrow   the encoded rows, which are mapped into memory
    cache/tokens/KEY/about.json   their SHA-256, and what was lost of them

KEY is made of everything that decides the tokens, so that an entry is right or isn't found. A damaged one is removed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import pyarrow

from slmstudio.core import disk_space, files, paths
from slmstudio.core.data.reader import Record
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.config_file import versions
from slmstudio.core.run.rows.saving_rows import make_room
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training.training_rows import Losses, encode_preferences, encode_rows, report_losses

FORMAT = 3
"""Raised whenever the encoding of rows changes: entries of before aren't found then, and go as they age."""
MOST_BYTES = 2 * 1024**3
"""The size of all entries together. Above it, those unused for the longest time are removed, but not the newest."""
ROOM = 2 * 1024**3
"""Bytes that must be left on the disk: checkpoints need them more."""
LOOK_EVERY = 100
"""How many batches pass between checks of the free disk space."""
ROWS, ABOUT = "rows.arrow", "about.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def encode(rows: Sequence[Record], sha256: str | None, tokenizer: Any, template: ChatTemplate, config: RunConfig,
           job: JobContext, phase: str) -> datasets.Dataset:
    """The rows in the columns of `encode_rows` or `encode_preferences`, with warnings of what was cut or left out.

    They are on the disk and are mapped into memory; in memory where they can't be kept.

    Args:
        sha256: of the rows as the run keeps them; None if it keeps none, and nothing is looked up then.

    Raises:
        NothingLearned: no row is left.
        UserError: the rows are of a different kind from what the objective needs.
        Cancelled: the user asked to end.
    """
    place = paths.cache_dir() / "tokens" / _key(sha256, template, config) if sha256 else None
    found = _load(place, job) if place is not None else None

    def batches(losses: Losses) -> Iterator[pyarrow.RecordBatch]:
        work = encode_preferences if config.is_preference else encode_rows
        return work(rows, tokenizer, template, config, job, phase, losses)

    if found is None and place is not None and disk_space.free(place) > ROOM:
        found = _keep(place, batches, len(rows), job)
    if found is None:
        losses = Losses(len(rows))
        made = list(batches(losses))
        found = datasets.Dataset(pyarrow.Table.from_batches(made)) if made else datasets.Dataset.from_dict({}), losses
    dataset, losses = found
    report_losses(job, config, losses, len(dataset) > 0)
    return dataset


def _key(sha256: str, template: ChatTemplate, config: RunConfig) -> str:
    """What decides the tokens of rows with this SHA-256. KTO's rows are put together by seed and micro-batch, too."""
    installed = versions()
    decides = {
        "format": FORMAT, "rows": sha256, "template": [template.source, dict(template.special_tokens), template.thinks],
        "tokenizer": [files.sha256_of(path) if path.is_file() else None
                      for path in (Path(config.model) / name for name in TOKENIZER_FILES)],
        "libraries": [installed.get(name) for name in ("tokenizers", "transformers")],
        "objective": config.objective, "length": config.max_length,
        "overlong": config.overlong_rows, "completion_only": config.completion_only_loss,
        "batches": [config.seed, config.micro_batch_size] if config.objective == "kto" else None,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _load(place: Path, job: JobContext) -> tuple[datasets.Dataset, Losses] | None:
    if not place.is_dir():
        return None
    try:
        about = json.loads((place / ABOUT).read_bytes())
        losses = Losses(**about["losses"])
        if files.sha256_of(place / ROWS) != about["sha256"]:
            raise ValueError(f"{ROWS} was changed")
        dataset = datasets.Dataset.from_file(str(place / ROWS), in_memory=False)
        os.utime(place)
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        job.log(f"The tokens of an earlier run are damaged and are made again: {error}", "warning")
        shutil.rmtree(place, ignore_errors=True)
        return None
    job.log(f"The tokens of {losses.rows:,} rows are those of an earlier run.")
    return dataset, losses


def _keep(place: Path, batches: Callable[[Losses], Iterator[pyarrow.RecordBatch]], rows: int,
          job: JobContext) -> tuple[datasets.Dataset, Losses] | None:
    """Encode them into the cache. None when the disk has no room for them, which must not end the run, and when no row
    is left."""
    partial, losses = place.with_name(f".{place.name}.{os.getpid()}.partial"), Losses(rows)
    made = batches(losses)
    first = next(made, None)
    if first is None:
        return None
    try:
        partial.mkdir(parents=True)
        with pyarrow.OSFile(str(partial / ROWS), "wb") as file, pyarrow.ipc.new_stream(file, first.schema) as writer:
            for number, batch in enumerate(chain([first], made)):
                writer.write_batch(batch)
                if number % LOOK_EVERY == 0 and disk_space.free(partial) <= ROOM:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        about = {"sha256": files.sha256_of(partial / ROWS), "losses": asdict(losses)}
        (partial / ABOUT).write_bytes(files.dump_line(about))
        try:
            os.replace(partial, place)
        except OSError:  # each system has an error of its own for it
            if not place.is_dir():  # an equal run was faster
                raise
        make_room(place, MOST_BYTES)
        return datasets.Dataset.from_file(str(place / ROWS)), losses
    except OSError as error:
        job.log(f"The tokens are not kept for the next run: {error}")
        return None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
