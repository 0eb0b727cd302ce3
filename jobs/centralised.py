"""Training on the pooled images of all sites, in one process only: `mdhfl run centralised`.

No federation: `--export` refuses. Use `mdhfl run centralised --engine inprocess`.
"""

from mdhfl.methods.centralised import Centralised
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(method=Centralised())

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
