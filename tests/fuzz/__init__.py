"""Mutated messages by the hundred thousand: what a server makes of answers, and a site of requests and peers' words.

`python -m fuzz --count 100000` (with `tests` on the path; `make fuzz` for a million). A case is its number: with the
same seed it is the same again, so `--first` goes on where a run was stopped.
"""
