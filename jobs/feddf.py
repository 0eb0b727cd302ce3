"""FedDF, the original (shares weights): `python jobs/feddf.py --federation fed/`.

The paper's values. The federation needs a labelled part at the server: `mdhfl prepare --server-validation 200`.
"""

from mdhfl.methods.feddf import FedDf
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=FedDf())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
