"""SL-FedL (peers share weights): `python jobs/sl_fedl.py --federation fed/`.

Sites of different architectures: `--set grouped=true` averages within each.
"""

from mdhfl.plan import Plan

PLAN = Plan(
    name="sl_fedl",
    summary="SL-FedL: an elected leader among the sites averages weights",
    method="sl_fedl",
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
