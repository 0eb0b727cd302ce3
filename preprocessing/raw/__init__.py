"""A file as people have it -> RGB pixels and a class code: archives, decoding, cropping, label spaces.

May import `mdhfl.files`.
"""
