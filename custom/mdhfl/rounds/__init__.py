"""An experiment and its rounds: teach, align, train, share. No torch, no files, no FLARE.

May import `sharing` and `methods`.
"""
