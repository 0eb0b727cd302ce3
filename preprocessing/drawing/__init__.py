"""Drawn blood cells: kinds, shapes, scanners. Numpy and Pillow only.

May import `mdhfl.seeds`.
"""
