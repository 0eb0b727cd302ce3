"""Swarm-FHE (peers share encrypted weights): `python jobs/swarm_fhe.py --federation fed/`.

The values are those of FedAvg.
"""

from mdhfl.jobs.fedavg import PLAN as FEDAVG
from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="swarm_fhe",
    summary="Swarm-FHE: the leader adds encrypted weights it cannot read",
    method="swarm_fhe",
    rounds=40,
    parameters=FEDAVG.parameters,
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
