"""MDH-FL, teacher by the geometric mean: `python jobs/mdhfl_geometric.py --federation fed/`.

The values are those of MDH-FL.
"""

from mdhfl.jobs.mdh_fl import PLAN as MDH_FL
from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="mdhfl_geometric",
    summary="MDH-FL with the geometric mean of the others",
    method="mdhfl_geometric",
    rounds=40,
    parameters=MDH_FL.parameters,
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
