"""Sites that merge their models among themselves: the ledger, encrypted sums, members and leaders.

May import `sharing`, `store`, `files`, `timing`.
"""
