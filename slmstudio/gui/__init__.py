"""The window. Imports Qt and slmstudio.core, never slmstudio.worker, torch or transformers."""
