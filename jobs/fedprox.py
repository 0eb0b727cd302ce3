"""FedProx (shares weights): `python jobs/fedprox.py --federation fed/`.

Sites of different architectures: `--set grouped=true` averages within each.
"""

from mdhfl.plan import Plan

PLAN = Plan(
    name="fedprox",
    summary="FedProx: FedAvg (weights leave the sites) that stays near the last average",
    method="fedprox",
    rounds=40,
    parameters={
        "warm_up_epochs": 1,
        "local_epochs": 1,
        "grouped": False,
        "proximal_weight": 0.01,
    },
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
