"""The public set on its way from the server to a site: what is offered, the messages, the server's and the site's side.

Knows no FLARE and no torch. May import `sharing`, `store`, `digests`, `files`.
"""
