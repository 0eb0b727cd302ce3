"""Which image goes to which site and part, and which label becomes wrong: pure index arithmetic.

May import `mdhfl.seeds`, and `mdhfl.files` for the shipped noise matrices.
"""
