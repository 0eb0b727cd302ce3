"""SL-FedL (peers share weights): `python jobs/sl_fedl.py --federation fed/`.

The values are those of FedAvg.
"""

from mdhfl.methods.sl_fedl import SlFedl
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=SlFedl())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
