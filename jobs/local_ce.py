"""Every site alone, cross-entropy: what a federation must beat. `python jobs/local_ce.py --federation fed/`."""

from mdhfl.methods.local import Local
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=Local())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
