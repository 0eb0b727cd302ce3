"""A network and images: bundles, transforms, decoded images, the training loops, tensors on disk.

Plain torch and MONAI. May import `digests`, `files`, `metrics`, `seeds`, `timing`; knows no site, no message,
no FLARE.
"""
