"""What travels between sites and server: knowledge, weights, teachings, merge turns, and the messages around them.

Plain records on numpy, each with its check. Imports nothing of ours.
"""
