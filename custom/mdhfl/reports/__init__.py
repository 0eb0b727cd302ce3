"""Runs told to people: one self-contained HTML page, figures, CSV, and the terminal's table.

May import `runs`, `server`, `site`, `store`, `methods`, `metrics`.
"""
