"""`mdhfl compare`: methods x federations x noise x seeds, from one YAML file to runs, tables and a figure.

May import `jobs`, `runs`, `learning`, `reports`, `preprocessing` and what is below them.
"""
