"""Swarm-FHE (peers share encrypted weights): `python jobs/swarm_fhe.py --federation fed/`.

Sites of different architectures: `--set grouped=true` averages within each.
"""

from mdhfl.plan import Plan

PLAN = Plan(
    name="swarm_fhe",
    summary="Swarm-FHE: the leader adds encrypted weights it cannot read",
    method="swarm_fhe",
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
