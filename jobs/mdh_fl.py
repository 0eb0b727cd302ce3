"""MDH-FL with the paper's values: `python jobs/mdh_fl.py --federation fed/` runs it in FLARE's simulator.

The paper gives 40 rounds, SCE weights 0.1 and 1.0, no temperature, one epoch each; it does not say what the first
alignment starts from: here, from one epoch of local training.
"""

from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=Mdhfl())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
