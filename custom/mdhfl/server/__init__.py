"""What the server keeps and, for FedDF, trains: results, settings, distillation.

May import `rounds`, `methods`, `learning`, `store`, `sharing`.
"""
