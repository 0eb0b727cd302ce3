"""Files that outlive a process: sealed with a checksum, with the generation before beside them, locked while in use.

May import `files` and `digests`.
"""
