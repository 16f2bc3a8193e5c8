"""The window's own controls."""

from slmstudio.gui.common.widgets.areas import DropArea, EmptyState, ScrolledIfNeeded
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import (
    IconButton,
    PrimaryButton,
    SecondaryButton,
    SegmentedControl,
    keep_room,
)
from slmstudio.gui.common.widgets.card import Card
from slmstudio.gui.common.widgets.fields import ComboBox, DoubleSpinBox, Slider, SpinBox, number_field
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, breakable, plain_tip, text_label
from slmstudio.gui.common.widgets.progress import ProgressStrip

__all__ = ["Card", "Chip", "ComboBox", "DoubleSpinBox", "DropArea", "ElidedLabel", "EmptyState", "ErrorBanner",
           "IconButton", "PrimaryButton", "ProgressStrip", "ScrolledIfNeeded", "SecondaryButton", "SegmentedControl",
           "Slider", "SpinBox", "breakable", "keep_room", "number_field", "plain_tip", "text_label"]
