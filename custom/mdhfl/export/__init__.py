"""A site's trained model as a MONAI bundle that runs without mdhfl.

May import `runs`, `learning`, `site`, `preprocessing` and what is below them.
"""
