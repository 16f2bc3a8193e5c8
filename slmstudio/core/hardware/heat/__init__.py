"""Looks after the machine while it works: when to rest and for how long, the hours it may work, a lower power limit.

Everything here is given the time and the readings, and only decides; who rests is `slmstudio.worker.training.heat`. The
warning that heat alone gives is `slmstudio.core.hardware.guard`.
"""
