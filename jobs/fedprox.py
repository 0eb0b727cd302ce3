"""FedProx (shares weights): `python jobs/fedprox.py --federation fed/`.

The values are those of FedAvg; the proximal weight is one that its paper tuned from.
"""

from mdhfl.methods.fedprox import FedProx
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=FedProx())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
