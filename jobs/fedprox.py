"""FedProx (shares weights): `python jobs/fedprox.py --federation fed/`.

The values are those of FedAvg; the proximal weight is one that its paper tuned from.
"""

from mdhfl.jobs.fedavg import PLAN as FEDAVG
from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="fedprox",
    summary="FedProx: FedAvg (weights leave the sites) that stays near the last average",
    method="fedprox",
    rounds=40,
    parameters={**FEDAVG.parameters, "proximal_weight": 0.01},
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
