"""What a run gave away: attacks on what sites really sent, and on the models that they hold, measured.

May import `runs`, `site`, `server`, `learning`, `methods`, `showing` and what is below them.
"""
