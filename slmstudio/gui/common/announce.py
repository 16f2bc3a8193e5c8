"""What people are told without being asked: by a screen reader, and by the banner of a tab."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent
from PySide6.QtWidgets import QMainWindow, QWidget


def announce(widget: QWidget, text: str, *, urgent: bool = False) -> None:
    """Let a screen reader say something now, where one listens.

    Args:
        urgent: it interrupts what is being said.
    """
    event = QAccessibleAnnouncementEvent(widget, text)
    if urgent:
        event.setPoliteness(QAccessible.AnnouncementPoliteness.Assertive)
    QAccessible.updateAccessibility(event)


def banner_of(part: QObject) -> Any:
    """The ErrorBanner of the tab that an object is a part of, or of the window if it is in no tab; None without one."""
    with_banner: list[QObject] = []
    at: QObject | None = part
    while at is not None:
        if hasattr(at, "banner"):
            with_banner.append(at)
        at = at.parent()
    tabs = [each for each in with_banner if not isinstance(each, QMainWindow)]
    return (tabs or with_banner)[-1].banner if with_banner else None  # type: ignore[attr-defined]


def report_error(part: QObject, error: Exception) -> None:
    """Show an error where the user works with this part. Raises it where there is no banner."""
    banner = banner_of(part)
    if banner is None:
        raise error
    banner.show_error(error)


def clear_error(part: QObject) -> None:
    """What was shown by `report_error` is over."""
    if (banner := banner_of(part)) is not None:
        banner.clear()
