"""NVIDIA FLARE's side: controller, executor, filters, the job, the simulator. No arithmetic.

May import `runs`, `site`, `server`, `rounds` and everything below.
"""
