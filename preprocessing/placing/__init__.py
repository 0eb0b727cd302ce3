"""Which picture goes where: planned on what is listed, then drawn and read until no picture lies on two sides.

May import `pool` and what is below it.
"""
