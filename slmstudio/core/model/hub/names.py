"""What people paste to name a model of the hub, and which files of its repository make a base model."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.model.json_files import and_more, printable
from slmstudio.core.model.weights import INDEX, PICKLES, SINGLE

TOKENIZER = "tokenizer.json"
_OTHER_TOKENIZERS = ("tokenizer.model", "tekken.json", "vocab.json", "merges.txt", "spiece.model")
_SETTINGS = ("generation_config.json", TOKENIZER, "tokenizer_config.json", "special_tokens_map.json",
             "added_tokens.json", *_OTHER_TOKENIZERS, "chat_template.jinja", "chat_template.json")
_ABOUT = re.compile(r"(readme|licen[cs]e|copying|notice|use_policy)"
                    r"([.\-_][\w.\-]{0,60}\.(md|txt|html|pdf|rst)|\.(md|txt|html|pdf|rst)|[\-_][\w\-]{0,60})?",
                    re.IGNORECASE | re.ASCII)
"""Names of what says where a model is from and what its owner allows."""
_SHARD = re.compile(r"\w[\w.\-]{0,200}\.safetensors", re.ASCII)
_PART = re.compile(r"\w([\w.\-]{0,94}\w)?", re.ASCII)
"""An owner's or a model's name, as the hub allows it."""
_REVISION = re.compile(r"\w[\w.\-+/]{0,200}", re.ASCII)
_VERBS = {"tree", "blob", "resolve", "raw", "commit"}
_EXAMPLE = noop("Write it as the hub does, for instance Qwen/Qwen2.5-1.5B-Instruct.")


@dataclass(frozen=True)
class RepoName:
    """A model of the hub.

    Attributes:
        repo: owner and name, such as "Qwen/Qwen2.5-1.5B-Instruct"; a few old models have no owner.
        revision: a branch, tag or commit; None for the newest.
    """

    repo: str
    revision: str | None = None

    @property
    def name(self) -> str:
        return self.repo.rpartition("/")[2]

    @property
    def owner(self) -> str:
        return self.repo.rpartition("/")[0]


def parse(text: str) -> RepoName:
    """Read what was pasted: a name, a name with @REVISION, a page of the hub, or a folder's name in its cache.

    A page's host says nothing: models come from the endpoint that is set.

    Raises:
        UserError: it doesn't name a model.
    """
    given = text.strip().strip("\"'`“”‘’<>").strip()
    repo, revision = _split(given, text)
    parts = repo.split("/")
    if not (1 <= len(parts) <= 2 and all(_is_part(part) for part in parts)):
        raise _no_name(text)
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise UserError(tr("“{name}” isn't a revision.", name=printable(revision)),
                        tr("A revision is a branch, a tag or a commit."), tr(_EXAMPLE))
    return RepoName(repo, revision)


def _split(given: str, text: str) -> tuple[str, str | None]:
    """Owner and name, and the revision, as far as they can be told apart."""
    if given.startswith("models--"):
        return given.removeprefix("models--").rstrip("/").replace("--", "/"), None
    if not given or given[0] in "./\\~" or "\\" in given or re.match(r"[A-Za-z]:", given):
        raise _no_name(text)
    is_url = "://" in given
    path = urlsplit(given).path if is_url and not given.startswith("hf://") else given.partition("://")[2] or given
    words = [unquote(word) for word in path.partition("?")[0].partition("#")[0].split("/") if word]
    if not is_url and len(words) > 2 and "." in words[0]:
        words = words[1:]  # a page without https://
    for prefix in ("api", "models"):
        words = words[1:] if len(words) > 1 and words[0] == prefix else words
    if words and words[0] in ("datasets", "spaces"):
        what = (tr("“{name}” is a dataset, not a model.", name=printable(given)) if words[0] == "datasets" else
                tr("“{name}” is a space, not a model.", name=printable(given)))
        raise UserError(what, "", f"{tr('Choose a model.')} {tr(_EXAMPLE)}")
    verb = next((place for place, word in enumerate(words) if place and word in _VERBS), None)
    revision = words[verb + 1] if verb is not None and verb + 1 < len(words) else None
    name, _, after = "/".join(words[:verb]).partition("@")
    return name.removesuffix(".git"), after or revision


def _is_part(part: str) -> bool:
    return (_PART.fullmatch(part) is not None and "--" not in part and ".." not in part
            and not part.lower().endswith((".gguf", ".safetensors")))


def _no_name(text: str) -> UserError:
    return UserError(tr("“{name}” isn't the name of a model.", name=printable(text.strip())),
                     tr("A model's full name is its owner and its name, with a slash between them."), tr(_EXAMPLE))


def needed(repo: str, names: Collection[str], shards: Collection[str] = ()) -> list[str]:
    """The files that make a base model, of all that its repository holds: weights in safetensors, and each once;
    configuration, tokenizer and template; licence and README. Folders inside hold other forms of the same.

    Args:
        shards: that the index names, once it is known.

    Raises:
        UserError: the repository doesn't hold a base model that can be used here, and what it holds instead.
    """
    here = {name for name in names if "/" not in name}
    if "config.json" not in here or not here & {SINGLE, INDEX}:
        raise _refusal(repo, here)
    if TOKENIZER not in here:
        raise UserError(tr("{repo} has no {file}.", repo=repo, file=TOKENIZER),
                        tr("Its tokenizer is in a different format, or missing."),
                        tr("Choose a version of the model that has one."))
    if SINGLE not in here and (missing := sorted(set(shards) - here)):
        raise UserError(tr("{repo} is incomplete on the hub: {file} is missing.", repo=repo,
                           file=printable(missing[0])),
                        ntr("{index} names {n:,} file that the hub doesn't have.",
                            "{index} names {n:,} files that the hub doesn't have.", len(missing), index=INDEX),
                        tr("Choose another version of it."))
    weights = [SINGLE] if SINGLE in here else [INDEX, *sorted(shards)]
    return ["config.json", *weights[:1], *(name for name in _SETTINGS if name in here),
            *sorted(name for name in here if _ABOUT.fullmatch(name)), *weights[1:]]


def shards(repo: str, index: dict[str, object]) -> list[str]:
    """The files with weights that an index names.

    Raises:
        UserError: it names none, or some that it must not.
    """
    found = index.get("weight_map")
    values = list(found.values()) if isinstance(found, dict) else []
    names = {value for value in values if isinstance(value, str)} if all(isinstance(v, str) for v in values) else set()
    wrong = next((name for name in sorted(names) if not _SHARD.fullmatch(name)), None)
    if not names or wrong is not None or len({name.lower() for name in names}) < len(names):
        why = (tr("{index} names {file}, which isn't a safetensors file beside it.", index=INDEX,
                  file=printable(wrong)) if wrong is not None
               else tr("{index} doesn't say which file contains which tensor.", index=INDEX))
        raise UserError(tr("{repo} can't be used as a base model.", repo=repo), why,
                        tr("Choose another version of the model."))
    return sorted(names)


def _refusal(repo: str, here: set[str]) -> UserError:
    def listed(*endings: str) -> str:
        return and_more(sorted(printable(name) for name in here if name.lower().endswith(endings)), 2)

    what = tr("{repo} can't be used as a base model.", repo=repo)
    if "adapter_config.json" in here:
        return UserError(what, tr("It is an adapter, which changes a base model and does nothing without it."),
                         tr("Get the base model that it was trained on. Its page says which one that is."))
    if "config.json" in here and (found := listed(*PICKLES)):
        return UserError(what,
                         tr("Its weights are Python pickles ({found}), which can run code when they are opened.",
                            found=found), tr("Choose a version of the model with safetensors files."))
    if found := listed(".gguf"):
        return UserError(what, tr("It contains GGUF files ({found}), which are for running a model.", found=found),
                         tr("Get the model that they were made from; its page says which one. Or download one of the "
                            "files yourself and import it: {command}",
                            command=program.command("models", "import", "FILE.gguf")))
    if found := listed(".safetensors"):
        why = (tr("It contains weights ({found}), but no {file}. It is part of a model, or in a format that "
                  "transformers doesn't use.", found=found, file="config.json") if "config.json" not in here else
               tr("It contains weights ({found}), but no {single} or {index}. It is part of a model, or in a format "
                  "that transformers doesn't use.", found=found, single=SINGLE, index=INDEX))
        return UserError(what, why, tr("Choose the version that transformers can load."))
    why = (tr("It contains no weights in safetensors files.") if "config.json" in here else
           tr("It has neither a config.json nor weights."))
    return UserError(what, why, tr("Check the name. Its page says what it contains."))
