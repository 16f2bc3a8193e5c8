"""The heat guard of a run: what its fields ask for, and what its events say that it did.

What decides is `slmstudio.core.hardware.heat`; what rests is `slmstudio.worker.training.heat`.
"""
