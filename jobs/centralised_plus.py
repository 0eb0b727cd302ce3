"""The strongest local training on the pooled images of all sites, in one process only: `mdhfl run centralised_plus`.

No federation: `--export` refuses. Use `mdhfl run centralised_plus --engine inprocess`.
"""

from mdhfl.methods.centralised_plus import CentralisedPlus
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=CentralisedPlus())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
