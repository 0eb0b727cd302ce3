"""How an experiment stands, at its server or at one site: read from their files, shown in a terminal or as a page.

May import `server`, `site`, `runs`, `rounds`, `store`, `showing`, and what lies below them. It writes nothing.
"""
