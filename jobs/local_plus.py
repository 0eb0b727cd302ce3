"""Every site alone, as well as it can: `python jobs/local_plus.py --federation fed/`."""

from mdhfl.methods.local_plus import LocalPlus
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=LocalPlus())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
