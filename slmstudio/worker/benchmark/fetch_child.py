"""A child of `fetch_benchmark`, and the only process of an evaluation that may use the network.

Each dataset is loaded as lm_eval's task would load it, by `datasets`, and kept as Parquet, one file per split: under
another name first, and renamed when complete.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError, causes, from_os_error
from slmstudio.core.evaluation import benchmark_store as store
from slmstudio.core.i18n import join_sentences, noop, tr
from slmstudio.worker.runtime import child

ELSEWHERE = noop("Or get its files on another machine and choose their folder (--data).")
_ABSENT = {"DatasetNotFoundError", "RepositoryNotFoundError", "RevisionNotFoundError"}


def work(request: dict[str, Any], report: Callable[..., None]) -> None:
    import datasets

    datasets.disable_progress_bars()
    for done, wanted in enumerate(request["wanted"]):
        report(done=done, current=wanted["dataset"])
        try:
            if not done:
                child.knock()
            _fetch(wanted, Path(request["place"]), Path(request["partial"]))
        except UserError:
            raise
        except Exception as error:
            import traceback

            traceback.print_exc()  # into worker.log
            raise explained(error, wanted["dataset"]) from error
    report(done=len(request["wanted"]))


def _fetch(wanted: dict[str, Any], place: Path, partial: Path) -> None:
    import datasets

    options = {key: value for key, value in wanted["options"].items() if key != "trust_remote_code"}
    builder = datasets.load_dataset_builder(wanted["dataset"], wanted["part"] or None, **options)
    builder.download_and_prepare()
    folder = partial / wanted["folder"]
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for split, data in builder.as_dataset().items():
        data.to_parquet(folder / f"{split}.parquet")
        rows[str(split)] = len(data)
    if not sum(rows.values()):
        raise UserError(tr("The dataset {dataset} arrived without a single row.", dataset=wanted["dataset"]), "",
                        join_sentences(tr("Try again."), tr(ELSEWHERE)))
    revision = re.search(r"@([0-9a-f]{40})\b", str(builder.base_path or ""))
    store.write_source(folder, wanted["dataset"], wanted["part"], revision[1] if revision else "", rows,
                       str(builder.info.license or ""))
    if not store.is_whole(place / wanted["folder"]):  # another fetch may have been faster
        shutil.rmtree(place / wanted["folder"], ignore_errors=True)
        os.replace(folder, place / wanted["folder"])


def explained(error: BaseException, dataset: str) -> UserError:
    """What went wrong between us and the hub, for a user. What libraries say is shown, never understood."""
    chain, kinds, status = list(causes(error)), child.kinds(error), child.status(error)
    full = next((each for each in chain if isinstance(each, OSError) and each.errno in (28, 122)), None)
    if full is not None:
        return from_os_error(full, tr("Could not save the dataset {dataset}.", dataset=dataset))
    what = tr("The dataset {dataset} couldn't be downloaded.", dataset=dataset)
    if "GatedRepoError" in kinds or status == 403:
        return UserError(what, tr("Its owner gives access only to people who have asked for it."),
                         join_sentences(tr("Ask for access on its page, put your token into HF_TOKEN and try again."),
                                        tr(ELSEWHERE)))
    if kinds & _ABSENT or status in (401, 404):
        return UserError(what, tr("The hub doesn't have it, or hides it from people who aren't signed in."),
                         f"{tr('It may have moved: look for it on the hub.')} {tr(ELSEWHERE)}")
    if trouble := child.explained(error, what):
        return UserError(trouble.what, trouble.why, join_sentences(trouble.remedy, tr(ELSEWHERE)))
    if status is not None:
        return UserError(what, tr("The hub answered with status {status}.", status=status),
                         join_sentences(tr("Try again later."), tr(ELSEWHERE)))
    said = str(chain[-1]).strip().splitlines()
    return UserError(what,
                     tr("The downloaded data is damaged, or isn't a dataset that can be read ({reason}).",
                        reason=f"{type(chain[-1]).__name__}: {said[0][:200].rstrip('.') if said else ''}"),
                     join_sentences(tr("Try again."), tr(ELSEWHERE)))


if __name__ == "__main__":
    sys.exit(child.serve(Path(sys.argv[1]), work))
