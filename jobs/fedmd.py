"""FedMD: `python jobs/fedmd.py --federation fed/`.

Epochs as in MDH-FL's recipe, so that the two can be compared; the paper digests for 1 and revisits for 2 to 10.
"""

from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="fedmd",
    summary="FedMD: L1 to the mean of all logits, then cross-entropy",
    method="fedmd",
    rounds=40,
    parameters={
        "warm_up_epochs": 1,
        "align_epochs": 1,
        "local_epochs": 1,
    },
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
