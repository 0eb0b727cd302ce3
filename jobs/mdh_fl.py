"""MDH-FL with the paper's values: `python jobs/mdh_fl.py --federation fed/` runs it in FLARE's simulator.

The paper gives 40 rounds, SCE weights 0.1 and 1.0, no temperature, one epoch each; it does not say what the first
alignment starts from: here, from one epoch of local training.
"""

from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="mdhfl",
    summary="MDH-FL: KL alignment to the others' mean knowledge, local symmetric cross-entropy",
    method="mdhfl",
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
