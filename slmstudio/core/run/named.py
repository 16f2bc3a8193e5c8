"""The run that a user means: by its folder, by the adapter or the model in it, or by its name."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from slmstudio.core import files, jobs, paths, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import library
from slmstudio.core.run import folder


def model_title(path: Path) -> str:
    """What people call a model: the name of the run that it came from, with the type of an export; else that of its
    file or folder, which may have a dot in it."""
    run = path.parent.parent if path.parent.name == paths.EXPORTS else path
    name = files.an_object(_request(run)).get("name")
    own = path.stem if path.suffix.lower() == ".gguf" else path.name
    if not isinstance(name, str) or not name:
        return own
    kind = own.removeprefix(run.name).lstrip("-")
    return f"{name} · {kind}" if kind else name


def _request(run: Path) -> object:
    try:
        return files.read_json(run / jobs.RUN)
    except OSError:
        return None


def find(text: Path | str) -> Path | None:
    """The run's folder; None if it isn't a run. Something else that is there goes before a run of that name, and so
    does the starter model.

    Raises:
        UserError: several runs have this name.
    """
    return None if str(text) == library.STARTER and not Path(text).exists() else _run_or_nothing(text)


def _run_or_nothing(text: Path | str) -> Path | None:
    return _at(text) or (None if Path(text).exists() else _called(text))


def _at(text: Path | str) -> Path | None:
    """The run that is in this place, or that left the adapter or the model there."""
    path = Path(text).absolute()
    places = (path, path.parent) if path.name in (folder.ADAPTER, folder.MODEL) else (path,)
    return next((place for place in places if (place / jobs.RUN).is_file()), None)


def _called(text: Path | str) -> Path | None:
    """Raises UserError: several runs have this name."""
    if Path(text).is_absolute():
        return None
    found = [place for place, request in folder.requests()
             if place.name == str(text) or folder.is_name_taken(str(text), [str(request.get("name"))])]
    if len(found) > 1:
        raise UserError(tr("Several runs are called {name}.", name=text), "",
                        tr("Give the folder of one of them: {folders}", folders=", ".join(map(str, sorted(found)))))
    return found[0] if found else None


def need(text: Path | str) -> Path:
    """The run's folder, whatever else has its name: only a run is meant.

    Raises:
        UserError: it isn't a run; or several runs have this name.
    """
    found = _at(text) or _called(text)
    if found is None:
        raise UserError(tr("{run} isn't a run folder.", run=text), tr("It has no run.json."),
                        tr("To see the run folders: {command}", command=program.command("runs"))
                        ) if Path(text).exists() else unknown(text)
    return found


def or_path(text: Path | str) -> Path:
    """The run's folder, or something else that is there, for others to judge.

    Raises:
        UserError: there is neither; or several runs have this name.
    """
    found = _run_or_nothing(text)
    if found is None and not Path(text).exists():
        raise unknown(text)
    return found or Path(text)


def unknown(text: Path | str) -> UserError:
    """What to say about something that isn't there. A name with an ending is a file's."""
    if Path(text).suffix.lower() in (".gguf", ".json"):
        return UserError(tr("{path} doesn't exist.", path=text), "", tr("Check the path."))
    return UserError(tr("There's no run “{name}”.", name=text), similar(text),
                     tr("To see the runs: {command}", command=program.command("runs")))


def similar(text: Path | str) -> str:
    """A sentence with the names of runs that are nearly this one; "" if there are none."""
    close = get_close_matches(str(text), {name for place, request in folder.requests()
                                          for name in (place.name, str(request.get("name")))})
    return tr("Did you mean: {names}?", names=", ".join(close)) if close else ""
