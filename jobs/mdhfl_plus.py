"""MDH-FL+: `python jobs/mdhfl_plus.py --federation fed/`."""

from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=MdhflPlus())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
