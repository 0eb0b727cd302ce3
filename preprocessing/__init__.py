"""Raw images in, a federation folder out: the sites' private sets, the public set and the cards that describe them.

Knows no torch and no FLARE. `prepare.prepare` is the way in, `verify.verify_federation` the check of what came out.
"""
