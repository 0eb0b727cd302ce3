"""SL-FedL (peers share weights): `python jobs/sl_fedl.py --federation fed/`.

The values are those of FedAvg.
"""

from mdhfl.jobs.fedavg import PLAN as FEDAVG
from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="sl_fedl",
    summary="SL-FedL: an elected leader among the sites averages weights",
    method="sl_fedl",
    rounds=40,
    parameters=FEDAVG.parameters,
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
