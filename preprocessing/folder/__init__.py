"""What lies on disk: a federation's images, datalists, cards and contact sheets; written and verified.

May import everything of preprocessing but `prepare`.
"""
