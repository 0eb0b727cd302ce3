"""Speed, memory and bytes, as ratios from one run. `python -m benchmarks` runs all and writes the tables."""
