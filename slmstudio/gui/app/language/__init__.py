"""The language of the window: chosen in the settings, changed without a restart, also in what Qt itself writes.

The messages are where they are shown; `core.i18n` translates them.
"""
