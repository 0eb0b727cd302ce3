"""FedAvg (shares weights): `python jobs/fedavg.py --federation fed/`.

Sites of different architectures: `--set grouped=true` averages within each.
"""

from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="fedavg",
    summary="FedAvg: weights leave the sites, the server averages them",
    method="fedavg",
    rounds=40,
    parameters={
        "warm_up_epochs": 1,
        "local_epochs": 1,
        "grouped": False,
    },
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
