"""RHFL with the paper's values: `python jobs/rhfl.py --federation fed/`.

The paper trains locally for 40 epochs before the first exchange.
"""

from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="rhfl",
    summary="RHFL: MDH-FL's losses, teachers weighted by their falling loss",
    method="rhfl",
    rounds=40,
    parameters={
        "warm_up_epochs": 40,
        "align_epochs": 1,
        "local_epochs": 1,
        "temperature": 1.0,
        "ce_weight": 0.1,
        "rce_weight": 1.0,
        "confidence_weight": 0.5,
    },
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
