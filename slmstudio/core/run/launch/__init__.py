"""Runs that several cards or machines train together, as core and window see them: what must be there before the start,
and the invitation by which another machine joins."""
