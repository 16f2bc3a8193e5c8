"""How the setup's window looks: colours, fonts and sizes, in step with the program's own theme."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tkinter as tk
from tkinter import font, ttk

# Some of the tokens of slmstudio/gui/common/theme.py, which can't be read here: nothing is installed yet.
LIGHT = {
    "ground": "#f5f6f8", "card": "#ffffff", "line": "#e2e5ea", "edge": "#c3c9d3", "ink": "#1b1f27", "muted": "#596275",
    "faint": "#737c8c", "accent": "#2f5bea", "accent_hover": "#2149cf", "on_accent": "#ffffff", "ok": "#156b3f",
    "ok_ground": "#e3f5eb", "warn": "#8f4a00", "warn_ground": "#fdf0dc", "bad": "#b3261e", "bad_ground": "#fbe6e4",
    "field": "#ffffff", "hover": "#eef0f4",
}
DARK = {
    "ground": "#15181e", "card": "#1d2129", "line": "#2d333d", "edge": "#475060", "ink": "#e8ebf0", "muted": "#a3adbb",
    "faint": "#8a94a3", "accent": "#7c9bff", "accent_hover": "#9bb3ff", "on_accent": "#10131a", "ok": "#5ecb93",
    "ok_ground": "#193326", "warn": "#f0b15c", "warn_ground": "#3a2c17", "bad": "#ff8a80", "bad_ground": "#40211f",
    "field": "#171a20", "hover": "#252a33",
}
FAMILIES = {"win32": ("Segoe UI", "Consolas"), "darwin": ("Helvetica Neue", "Menlo")}
TEXT, SMALL, TITLE = 10, 9, 15
"""Points."""


def prefers_dark() -> bool:
    """Whether the system is set to dark windows."""
    if sys.platform == "win32":
        import winreg

        with contextlib.suppress(OSError), winreg.OpenKey(
                winreg.HKEY_CURRENT_USER,
                r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize") as key:
            return int(winreg.QueryValueEx(key, "AppsUseLightTheme")[0]) == 0
        return False
    if "dark" in os.environ.get("GTK_THEME", "").lower():
        return True
    program = shutil.which("gsettings")
    if program is None:
        return False
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run([program, "get", "org.gnome.desktop.interface", "color-scheme"], capture_output=True,
                               text=True, timeout=2, check=False)
        return "dark" in asked.stdout
    return False


def sharpen() -> None:
    """On Windows, draw in the screen's own pixels; to be called before the first window."""
    if sys.platform == "win32":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.windll.shcore.SetProcessDpiAwareness(1)


class Looks:
    """The colours, fonts and widget styles of one window."""

    def __init__(self, root: tk.Tk, dark: bool):
        self.colours = DARK if dark else LIGHT
        self.scale = max(1.0, root.winfo_fpixels("1i") / 96)
        wanted, fixed = FAMILIES.get(sys.platform, ("Noto Sans", "Noto Sans Mono"))
        there = set(font.families(root))
        text = wanted if wanted in there else font.nametofont("TkDefaultFont", root).actual("family")
        mono = fixed if fixed in there else font.nametofont("TkFixedFont", root).actual("family")
        self.text = font.Font(root, family=text, size=TEXT)
        self.strong = font.Font(root, family=text, size=TEXT, weight="bold")
        self.small = font.Font(root, family=text, size=SMALL)
        self.title = font.Font(root, family=text, size=TITLE, weight="bold")
        self.mono = font.Font(root, family=mono, size=SMALL)
        root.configure(background=self.colours["ground"])
        self._style(ttk.Style(root))

    def px(self, pixels: float) -> int:
        """A length at 96 dots an inch, in pixels of this screen."""
        return round(pixels * self.scale)

    def _style(self, style: ttk.Style) -> None:
        c = self.colours
        style.theme_use("clam")
        style.configure("TButton", background=c["card"], foreground=c["ink"], bordercolor=c["edge"],
                        lightcolor=c["card"], darkcolor=c["card"], focuscolor=c["accent"],
                        padding=(self.px(12), self.px(5)), relief="raised", borderwidth=1,
                        focusthickness=1, font=self.text)
        style.map("TButton", background=[("disabled", c["hover"]), ("active", c["hover"])],
                  foreground=[("disabled", c["faint"])], lightcolor=[("active", c["hover"])],
                  darkcolor=[("active", c["hover"])], bordercolor=[("focus", c["accent"])])
        style.configure("Primary.TButton", background=c["accent"], foreground=c["on_accent"], bordercolor=c["accent"],
                        lightcolor=c["accent"], darkcolor=c["accent"], focuscolor=c["on_accent"])
        style.map("Primary.TButton", background=[("active", c["accent_hover"])], foreground=[],
                  lightcolor=[("active", c["accent_hover"])], darkcolor=[("active", c["accent_hover"])],
                  bordercolor=[("active", c["accent_hover"])])
        style.configure("TScrollbar", background=c["hover"], troughcolor=c["field"], bordercolor=c["line"],
                        arrowcolor=c["muted"], lightcolor=c["hover"], darkcolor=c["hover"])
