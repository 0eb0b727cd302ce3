"""The verbs of the `mdhfl` command, one file each: arguments in, text out.

May import everything.
"""
