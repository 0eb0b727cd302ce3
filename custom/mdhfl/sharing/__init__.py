"""What travels between sites and server: knowledge, weights, teachings, merge turns, and the messages around them.

Plain records on numpy, each with its check. May import nothing of ours.
"""
