"""A run on one machine: recipe, folder, and the in-process engine.

May import `site`, `server`, `rounds` and everything below.
"""
