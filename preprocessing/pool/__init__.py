"""All pictures of a run's raw data: read in parallel, sorted into classes, freed of duplicates.

May import `raw`, `sources`.
"""
