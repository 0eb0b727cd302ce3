"""What people see, made inert: texts, CSV files, the terminal. Nothing else writes to a terminal or writes CSV.

May import nothing of mdhfl.
"""
