"""Swarm-FHE (peers share encrypted weights): `python jobs/swarm_fhe.py --federation fed/`.

The values are those of FedAvg.
"""

from mdhfl.methods.swarm_fhe import SwarmFhe
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=SwarmFhe())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
