"""The Model tab: which base model learns, and whether it fits."""
