"""RHFL with the paper's values: `python jobs/rhfl.py --federation fed/`.

The paper trains locally for 40 epochs before the first exchange.
"""

from mdhfl.methods.rhfl import Rhfl
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=Rhfl())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
