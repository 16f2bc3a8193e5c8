"""Colours, sizes, fonts and animations of the window: the one place that knows them.

Widgets name a colour ("accent", "muted"); this module knows its value in the scheme that is on. Style
rules are in resources/styles/studio.qss, where `$name` is replaced by the value of a token.
"""

from __future__ import annotations

import re
import sys
import weakref
from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any, cast

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QIcon, QPainter, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QApplication, QStyle, QStyleOptionViewItem, QWidget
from shiboken6 import isValid

from slmstudio.core import i18n, paths

LIGHT = {
    "ground": "#f5f6f8", "card": "#ffffff", "line": "#e2e5ea", "edge": "#c3c9d3", "ink": "#1b1f27",
    "muted": "#596275", "faint": "#737c8c", "accent": "#2f5bea", "accent_hover": "#2149cf", "accent_ground": "#e9eefd",
    "on_accent": "#ffffff", "ok": "#156b3f", "ok_ground": "#e3f5eb", "warn": "#8f4a00", "warn_ground": "#fdf0dc",
    "bad": "#b3261e", "bad_ground": "#fbe6e4", "train": "#2f5bea", "eval": "#e07b00", "extra": "#7a5af8",
    "teal": "#0e9384", "pink": "#c4467b", "olive": "#74802a", "grey": "#98a2b3", "field": "#ffffff", "hover": "#eef0f4",
    "ring_on_accent": "#0b1030", "mark": "#ffeba6",
}
DARK = {
    "ground": "#15181e", "card": "#1d2129", "line": "#2d333d", "edge": "#475060", "ink": "#e8ebf0",
    "muted": "#a3adbb", "faint": "#8a94a3", "accent": "#7c9bff", "accent_hover": "#9bb3ff", "accent_ground": "#25304e",
    "on_accent": "#10131a", "ok": "#5ecb93", "ok_ground": "#193326", "warn": "#f0b15c", "warn_ground": "#3a2c17",
    "bad": "#ff8a80", "bad_ground": "#40211f", "train": "#7c9bff", "eval": "#f0a34a", "extra": "#a48afb",
    "teal": "#2fbfae", "pink": "#f08bb4", "olive": "#b5c45a", "grey": "#7d8696", "field": "#171a20", "hover": "#252a33",
    "ring_on_accent": "#ffffff", "mark": "#5a4a10",
}

# Sizes in device-independent pixels.
HEADER_HEIGHT, STATUS_HEIGHT = 48, 28
PAGE_MARGIN, CARD_GAP, CARD_PADDING = 12, 12, 14
SPACE_XS, SPACE_S, SPACE_M, SPACE_L = 4, 8, 10, 16
RADIUS, RADIUS_SMALL = 8, 6
SCROLL_BAR = 10  # as in the style sheet
FOCUS_RING = 2  # a list, a table or a scrolled page has that room around it for the ring
TEXT_SIZE, SMALL_SIZE = 13, 12
FONT_FAMILIES = ["Noto Sans", "Noto Sans Devanagari"]
TALL = {"hi": "Noto Sans Devanagari", "mr": "Noto Sans Devanagari", "ne": "Noto Sans Devanagari",
        "bn": "Noto Sans Bengali", "ta": "Noto Sans Tamil", "te": "Noto Sans Telugu", "ur": "Noto Naskh Arabic"}
"""Languages whose letters are taller than Latin ones: where the first family isn't theirs, lines are too low."""


_GROWS = re.compile(r"((?:font-size|min-height|border(?=: 4px)|(?<!-)width|(?<!-)height): )(\d+)px"
                    r"(?= *[;}]| solid)")
"""Sizes in the style sheet that grow with the text."""
_MANY = 2000
"""So many targets that grow with the text are kept before those that are gone are first looked for."""


class Theme(QObject):
    """The colour scheme that is on.

    Signals:
        changed: the colours or sizes are different now; whoever painted with them paints again.

    Attributes:
        scale: of the text, 1 being the usual size.
        growing, most_growing: what grows with it, and at how many those that are gone are left out.
        still: nothing moves by itself.
        icons, rich_text: what was made in the colours that are on, to be taken again.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.dark = self.still = False
        self.scale = 1.0
        self.growing: list[tuple[weakref.ref[QObject], str, int]] = []
        self.most_growing = _MANY
        self.icons: dict[tuple[str, str], QIcon] = {}
        self.rich_text = ""

    @property
    def tokens(self) -> dict[str, str]:
        return DARK if self.dark else LIGHT

    def set_dark(self, dark: bool) -> None:
        if dark == self.dark:
            return
        self.dark = dark
        self.icons.clear()
        self.rich_text = ""
        app = cast("QApplication | None", QApplication.instance())
        if app is not None:
            _dress(app)
        self.changed.emit()

    def set_scale(self, scale: float) -> None:
        """Make the text larger or smaller, and what must be as high as text with it."""
        if scale == self.scale:
            return
        self.scale = scale
        for known, setter, size in self.growing:
            target = known()
            if target is not None and isValid(target):
                getattr(target, setter)(scaled(size))
        app = cast("QApplication | None", QApplication.instance())
        if app is not None and app.property("slm_theme"):
            app.setFont(base_font())
            _dress(app)
        self.changed.emit()

THEME = Theme()


def colour(name: str) -> QColor:
    """The colour that a token has in the scheme that is on."""
    return QColor(THEME.tokens[name])


def icon(name: str, colour_name: str = "muted") -> QIcon:
    """A drawing of resources/icons in a colour of the theme. Take it again at `THEME.changed`."""
    key = (name, colour_name)
    if key not in THEME.icons:
        THEME.icons[key] = QIcon(_draw(name, THEME.tokens[colour_name]))
    return THEME.icons[key]


def apply(app: QApplication, scheme: str = "system", text_percent: int | None = None) -> None:
    """Give the program its look, and keep it in step with the system.

    Args:
        scheme: "system", "light" or "dark".
        text_percent: of the usual size of text; None leaves it.
    """
    if text_percent is not None:
        THEME.set_scale(text_percent / 100)
    hints = app.styleHints()
    if app.property("slm_theme") is None:
        app.setProperty("slm_theme", True)
        app.setStyle("Fusion")
        app.setFont(base_font())
        hints.colorSchemeChanged.connect(lambda now: THEME.set_dark(now == Qt.ColorScheme.Dark))
        THEME.dark = scheme == "dark" or (scheme == "system" and hints.colorScheme() == Qt.ColorScheme.Dark)
        _dress(app)
    if scheme == "system":
        hints.unsetColorScheme()
        THEME.set_dark(hints.colorScheme() == Qt.ColorScheme.Dark)
    else:
        wanted = Qt.ColorScheme.Dark if scheme == "dark" else Qt.ColorScheme.Light
        if hints.colorScheme() != wanted:
            hints.setColorScheme(wanted)
        # A platform without schemes of its own (offscreen, a bare X server) gives no answer.
        THEME.set_dark(scheme == "dark")


def base_font(size: int = TEXT_SIZE, bold: bool = False) -> QFont:
    """The window's font. Scripts that its families lack come from the system."""
    own = TALL.get(i18n.language())
    font = QFont([own, *FONT_FAMILIES] if own else FONT_FAMILIES)
    font.setPixelSize(scaled(size))
    if bold:
        font.setWeight(QFont.Weight.DemiBold)
    return font


def line_height(size: int = TEXT_SIZE) -> int:
    """The height of a line that mixes two scripts, which is more than that of a line of either."""
    font, found = base_font(size), []
    for family in font.families():
        font.setFamilies([family])
        found.append(QFontMetricsF(font))
    return max(ceil(each.ascent()) for each in found) + max(ceil(each.descent()) for each in found)


def scaled(size: int) -> int:
    """A size in pixels that grows with the text."""
    return round(size * THEME.scale)


def grow(target: QObject, setter: str, size: int) -> None:
    """Give something a size in pixels that grows with the text, now and whenever that changes.

    Args:
        setter: its method that takes the size, as in "setFixedWidth".
    """
    getattr(target, setter)(scaled(size))
    THEME.growing.append((weakref.ref(target), setter, size))
    if len(THEME.growing) > THEME.most_growing:
        THEME.growing = [each for each in THEME.growing if _is_there(each[0]())]
        THEME.most_growing = max(_MANY, 2 * len(THEME.growing))


def _is_there(target: QObject | None) -> bool:
    return target is not None and isValid(target)


def restyle(widget: QWidget) -> None:
    """Apply the style sheet again after a property that it looks at has changed."""
    style = widget.style()
    style.unpolish(widget)
    style.polish(widget)


def set_state(widget: QWidget, name: str, on: bool) -> None:
    """Set a property that the style sheet looks at, which is applied again only where it changes: a plan shows 60
    fields at once, and styling each of them took a fifth of that time."""
    if bool(widget.property(name)) != on:
        widget.setProperty(name, on)
        restyle(widget)


def stylesheet(tokens: dict[str, str]) -> str:
    """The style sheet with the tokens' values in it."""
    from string import Template

    text = (paths.resources() / "styles" / "studio.qss").read_text(encoding="utf-8")
    if THEME.scale != 1:
        text = _GROWS.sub(lambda found: f"{found[1]}{scaled(int(found[2]))}px", text)
    icons = (paths.resources() / "icons").as_posix()
    scheme = "dark" if tokens is DARK else "light"
    # Half of what they are high; Qt draws corners where a radius is larger.
    round_ = f"{scaled(14) // 2 + 1}px"
    return Template(text).substitute(tokens, icons=icons, scheme=scheme, round=round_, over=f"-{scaled(5)}px")


def dress(window: QWidget) -> None:
    """Give a window without a parent its look, and keep it in step with the theme; its dialogs and menus have it too.

    The style sheet belongs to windows and not to the application, since Qt applies an application's again to all that a
    widget holds whenever it gets another parent: that was three quarters of the time that building a page took.
    """
    window.setProperty("dressed", True)
    window.setStyleSheet(stylesheet(THEME.tokens))


def rich_text_style() -> str:
    """The style of rich text in labels, to be put before it, in the colours that are on."""
    if not THEME.rich_text:
        from string import Template

        text = (paths.resources() / "styles" / "markdown.css").read_text(encoding="utf-8")
        THEME.rich_text = f"<style>{Template(text).substitute(THEME.tokens)}</style>"
    return THEME.rich_text


def draw_item_focus(painter: QPainter, option: QStyleOptionViewItem) -> None:
    """Draw a ring around the item that the keys act on, for a delegate that paints by itself. A selected item needs
    none: its ground and the ring around the list say the same."""
    state, flag = option.state, QStyle.StateFlag  # type: ignore[attr-defined]
    if state & flag.State_HasFocus and not state & flag.State_Selected:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour("accent"), FOCUS_RING))
        painter.drawRoundedRect(option.rect.adjusted(1, 1, -1, -1), 4, 4)  # type: ignore[attr-defined]


def _dress(app: QApplication) -> None:
    app.setPalette(_palette(THEME.tokens))
    for window in app.topLevelWidgets():
        if window.property("dressed"):
            dress(window)


def _palette(tokens: dict[str, str]) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    for name, roles in {
        "ground": (role.Window, role.AlternateBase), "card": (role.Button, role.ToolTipBase), "field": (role.Base,),
        "ink": (role.WindowText, role.Text, role.ButtonText, role.ToolTipText, role.BrightText),
        "accent": (role.Highlight, role.Link, role.Accent), "on_accent": (role.HighlightedText,),
        "muted": (role.PlaceholderText,), "line": (role.Mid, role.Midlight), "edge": (role.Dark,),
    }.items():
        for each in roles:
            palette.setColor(each, QColor(tokens[name]))
    for each in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, each, QColor(tokens["faint"]))
    return palette


def _draw(name: str, value: str) -> QPixmap:
    """Render an SVG whose strokes are `currentColor`, at four times the usual size for sharp screens."""
    from PySide6.QtCore import QByteArray
    from PySide6.QtSvg import QSvgRenderer

    text = (paths.resources() / "icons" / f"{name}.svg").read_text(encoding="utf-8")
    renderer = QSvgRenderer(QByteArray(text.replace("currentColor", value).encode()))
    pixmap = QPixmap(64, 64)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    renderer.render(painter)
    painter.end()
    return pixmap


# -- Whether animations are shown, by the user's choice or the system's setting, which Qt doesn't report.

SPI_GETCLIENTAREAANIMATION = 0x1042


def set_still(app: QApplication, wanted: bool | None) -> None:
    """Turn animations off or on.

    Args:
        wanted: None follows the system.
    """
    if wanted is None:
        _ask_system(partial(_set_still, app))
    else:
        _set_still(app, wanted)


def _set_still(app: QApplication, still: bool) -> None:
    THEME.still = still
    for effect in (Qt.UIEffect.UI_AnimateMenu, Qt.UIEffect.UI_FadeMenu, Qt.UIEffect.UI_AnimateCombo,
                   Qt.UIEffect.UI_AnimateTooltip, Qt.UIEffect.UI_FadeTooltip):
        app.setEffectEnabled(effect, not still)


def _ask_system(told: Callable[[bool], object]) -> None:
    """Ask the desktop: on Linux through its portal, on Windows by SystemParametersInfo (not tried there yet).

    Args:
        told: is called with whether animations are off, at once or as soon as the desktop has answered.
    """
    if sys.platform == "win32":
        import ctypes

        moves = ctypes.c_int(1)
        ctypes.windll.user32.SystemParametersInfoW(SPI_GETCLIENTAREAANIMATION, 0, ctypes.byref(moves), 0)
        told(not moves.value)
        return
    if not sys.platform.startswith("linux"):
        told(False)
        return
    from PySide6.QtDBus import QDBusMessage

    from slmstudio.gui.common.session_bus import PORTAL, PORTAL_PATH, ask

    def answered(answer: list[Any] | None) -> None:
        found = answer[0] if answer else True
        told((found.variant() if hasattr(found, "variant") else found) is False)

    question = QDBusMessage.createMethodCall(PORTAL, PORTAL_PATH, "org.freedesktop.portal.Settings", "ReadOne")
    question.setArguments(["org.gnome.desktop.interface", "enable-animations"])
    ask(question, answered)
