"""The window itself: start and end, header, status bar, settings, welcome. It knows the tabs; they don't know it."""
