"""FedMD: `python jobs/fedmd.py --federation fed/`.

Epochs as in MDH-FL's recipe, so that the two can be compared; the paper digests for 1 and revisits for 2 to 10.
"""

from mdhfl.methods.fedmd import FedMd
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=FedMd())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
