"""The decoder of `mdhfl prepare`, copied from mdhfl.preprocessing.raw by `make bundles`: change it there.

It may import NumPy and Pillow; where a file needs them, tifffile, nibabel and pydicom.
"""
