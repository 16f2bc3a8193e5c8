"""What a run draws from the socket: measured from its events, estimated before it, its price and its CO2.

The readings themselves come from `core.hardware`; how long a run takes, from `core.run.memory`. What is measured, what
is assumed, and the source of each figure: docs/energy.md.
"""
