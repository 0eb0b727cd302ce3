"""MDH-FL, teacher by the geometric mean: `python jobs/mdhfl_geometric.py --federation fed/`.

The values are those of MDH-FL.
"""

from mdhfl.plan import Plan

PLAN = Plan(
    name="mdhfl_geometric",
    summary="MDH-FL with the geometric mean of the others",
    method="mdhfl_geometric",
    rounds=40,
    parameters={
        "warm_up_epochs": 1,
        "align_epochs": 1,
        "local_epochs": 1,
        "temperature": 1.0,
        "ce_weight": 0.1,
        "rce_weight": 1.0,
    },
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
