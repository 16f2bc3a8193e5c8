"""What the program remembers between two starts: settings in a file, and secrets in the system's keyring."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, i18n, paths
from slmstudio.core.errors import UserError, from_os_error, os_errors_as
from slmstudio.core.i18n import tr

# -- Secrets in the system's keyring. Where there is none that keeps them, who asks has a private file instead.


def ring() -> Any:
    """The system's keyring, or None if there is none that keeps a secret."""
    try:
        import keyring

        found = keyring.get_keyring()
        return found if found.priority >= 1 else None
    except Exception:  # a keyring that can't even say what it is
        return None


def read(service: str, account: str) -> str | None:
    found = ring()
    try:
        return found.get_password(service, account) if found is not None else None
    except Exception:  # locked, or its service isn't running: then there is none
        return None


def keep(service: str, account: str, secret: str) -> bool:
    """Whether the keyring keeps it from now on."""
    found = ring()
    try:
        if found is None:
            return False
        found.set_password(service, account, secret)
        return bool(found.get_password(service, account) == secret)
    except Exception:  # as above
        return False


THEMES = ("system", "light", "dark")
TEXT_SIZES = (80, 200)
"""Percent of the usual size."""
CHAT_WITH = ("adapter", "gguf")
"""How Chat opens a run without a GGUF file: as adapter on its base, or by making the file first."""


@dataclass
class Settings:
    """The settings file, typed.

    Attributes:
        language: a code as in `i18n.available`; "" follows the system.
        theme: "system", "light" or "dark".
        geometry: the window's place and size, as Qt saves it, in base64.
        model: folder of the base model that is chosen for training, or "".
        model_folders: base models outside the library that were opened once, newest first.
        datasets: those that are open or were, as `data.remembered` reads them.
        mappings: what a user said about columns, as `data.remembered` keeps it.
        correction_file, preference_file, test_file: where Chat added a row last, or "".
        runs_columns: fields of a run that the Results table shows; empty for its own choice.
        runs_sort: the field that it is sorted by, with a "-" before it for falling; "" for the newest first.
        runs_filter: the line that it is filtered by.
        welcomed: the welcome page was answered; Help opens it again.
        hub_endpoint: address of the hub that models come from; "" for the usual one, or what HF_ENDPOINT says.
        price_per_kwh: what the user pays for a kilowatt-hour; None for the default, where there is one.
        currency: of that price, three letters as in ISO 4217; "" for that of the country.
        grams_per_kwh: CO2 of a kilowatt-hour where the user knows better than the country's average.
        chat_with: one of CHAT_WITH.
        chat_settings: by the path of a model, the system prompt and the sampling that it was last talked to with.
        chat_device: what GGUF models are computed on, one of `core.chat.devices.CHOICES`.
        prepare_starter: prepare the starter model at the start, as long as it isn't there.
        notifications: tell on the desktop what has ended while the window is behind others.
        text_size: of the window's text, in percent.
        reduce_motion: nothing moves by itself; None follows the system.
        panes: sizes of panes that were resized, as Qt saves them, in base64, by their names.
        evaluate_at_end: let base and tuned model answer a few held-out rows as soon as a training has ended well.
        told: ids of the notes on this machine that were shown at a start, and need not be again.
        last_folder: where a file or a folder was chosen last, or "".
        measure_plans: measure by itself how long a plan takes, while nothing else is running.
        unknown: keys that this version doesn't know, kept so that going back and forth loses nothing.
    """

    language: str = ""
    theme: str = "system"
    last_tab: str = "data"
    geometry: str = ""
    model: str = ""
    model_folders: list[str] = field(default_factory=list)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    mappings: dict[str, str] = field(default_factory=dict)
    correction_file: str = ""
    preference_file: str = ""
    test_file: str = ""
    runs_columns: list[str] = field(default_factory=list)
    runs_sort: str = ""
    runs_filter: str = ""
    welcomed: bool = False
    hub_endpoint: str = ""
    price_per_kwh: float | None = None
    currency: str = ""
    grams_per_kwh: float | None = None
    chat_with: str = CHAT_WITH[0]
    chat_settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    chat_device: str = "auto"
    prepare_starter: bool = True
    notifications: bool = True
    text_size: int = 100
    reduce_motion: bool | None = None
    panes: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    evaluate_at_end: bool = True
    measure_plans: bool = True
    last_folder: str = ""
    unknown: dict[str, Any] = field(default_factory=dict)

    def remember_model(self, folder: Path) -> None:
        """Put `folder` first among the remembered base models. The list keeps the newest twenty."""
        name = str(folder)
        self.model_folders = [name, *(other for other in self.model_folders if other != name)][:20]

    def forget_model(self, folder: Path) -> None:
        self.model_folders = [other for other in self.model_folders if other != str(folder)]

    def to_dict(self) -> dict[str, Any]:
        known = asdict(self)
        return {**known.pop("unknown"), **formats.stamp("settings"), **known}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Settings:
        """Read what fits; a value of the wrong type falls back to its default, and the log says so."""
        settings = cls()
        known = {f.name for f in fields(cls)} - {"unknown"}
        for name in known & state.keys():
            if _fits(name, state[name], getattr(settings, name)):
                setattr(settings, name, state[name])
            else:
                logging.getLogger(__name__).warning("Setting %s has no use for the value %r.", name, state[name])
        settings.unknown = {key: value for key, value in state.items() if key not in known | {"format"}}
        return settings

    def save(self) -> None:
        """Write the settings file, whole or not at all.

        Raises:
            UserError: it can't be written.
        """
        with os_errors_as(tr("Could not save the settings.")):
            files.write_atomically(paths.settings_file(), files.dump_pretty(self.to_dict()))


def _is_price(value: Any) -> bool:
    figure = files.finite(value)
    return value is None or (figure is not None and figure >= 0)


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_FITS: dict[str, Callable[[Any], bool]] = {
    "language": lambda value: isinstance(value, str) and (not value or i18n.is_known(value)),
    "theme": lambda value: value in THEMES,
    "text_size": lambda value: type(value) is int and TEXT_SIZES[0] <= value <= TEXT_SIZES[1],
    "reduce_motion": lambda value: value is None or isinstance(value, bool),
    "chat_with": lambda value: value in CHAT_WITH,
    "price_per_kwh": _is_price, "grams_per_kwh": _is_price, "mappings": _is_texts, "panes": _is_texts,
    "chat_settings": lambda value: isinstance(value, dict) and all(isinstance(item, dict) for item in value.values()),
    "datasets": lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
}
"""What a setting may be, where its default's type doesn't say that."""


def _fits(name: str, value: Any, default: Any) -> bool:
    if name in _FITS:
        return _FITS[name](value)
    if isinstance(default, list):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, type(default))


def load(put_aside: bool = True) -> tuple[Settings, UserError | None]:
    """The settings, and what a user should know when the file couldn't be used.

    A damaged file, or one that a newer program wrote, is kept beside the new one, never thrown away.

    Args:
        put_aside: rename such a file, for who may save new ones and tells about it; others only look.
    """
    path = paths.settings_file()
    try:
        present = path.exists() and path.stat().st_size > 0
        state = files.read_json(path)
    except OSError as error:
        return Settings(), from_os_error(error, tr("Could not read the settings."))
    try:
        if state is not None:
            return Settings.from_dict(formats.check("settings", state, path)), None
        if not present:
            return Settings(), None
        trait, trouble = "damaged", UserError(
            tr("The settings couldn't be read, so the program starts with the defaults."),
            tr("The file doesn't contain a JSON object."))
    except formats.NewerFormat as newer:
        trait, trouble = "newer", UserError(
            newer.what, " ".join((newer.why, tr("The program starts with the default settings."))), newer.remedy)
    except UserError as error:
        trait, trouble = "damaged", UserError(error.what, error.why)
    return Settings(), _put_aside(path, trait, trouble) if put_aside else trouble


def load_to_change() -> tuple[Settings, UserError | None]:
    """As `load`, for who will save them.

    Raises:
        UserError: the file can't be read, and saving would replace it.
    """
    found, trouble = load()
    if trouble is not None and paths.settings_file().exists():
        raise trouble
    return found, trouble


def preferred_language() -> str:
    """The language that is set, before anything else is read; "" follows the system."""
    try:
        return load(put_aside=False)[0].language
    except UserError:  # where things are kept is damaged: who needs it says so, in the system's language
        return ""


def _put_aside(path: Path, trait: str, error: UserError) -> UserError:
    """Rename the file, so that saving doesn't overwrite it. Returns what a user should know."""
    try:
        aside = files.put_aside(path, trait)
    except OSError as trouble:
        return from_os_error(trouble, tr("Could not set the old settings aside."))
    return UserError(error.what, error.why,
                     " ".join(filter(None, (tr("The old file is kept as {file}.", file=aside.name), error.remedy))))
