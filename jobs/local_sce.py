"""Every site alone, symmetric cross-entropy: MDH-FL's local half. `python jobs/local_sce.py --federation fed/`."""

from mdhfl.methods.local import Local
from mdhfl.runs.recipe import Recipe

RECIPE = Recipe(
    name="local_sce",
    summary="every site alone, symmetric cross-entropy with the paper's weights",
    method=Local(ce_weight=0.1, rce_weight=1.0),
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(RECIPE)
