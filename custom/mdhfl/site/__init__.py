"""One hospital: its settings, its state, and its round.

May import `sharing`, `methods`, `learning`, `store`, `hosting`, `swarm`.
"""
