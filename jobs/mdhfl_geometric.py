"""MDH-FL, teacher by the geometric mean: `python jobs/mdhfl_geometric.py --federation fed/`.

The values are those of MDH-FL.
"""

from mdhfl.methods.mdhfl_geometric import MdhflGeometric
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=MdhflGeometric())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
