"""FedAvg (shares weights): `python jobs/fedavg.py --federation fed/`.

Sites of different architectures: `--set grouped=true` averages within each.
"""

from mdhfl.methods.fedavg import FedAvg
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=FedAvg())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
