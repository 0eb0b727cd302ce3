"""FedDF, the original (shares weights): `python jobs/feddf.py --federation fed/`.

The paper's values. The federation needs a labelled part at the server: `mdhfl prepare --server-validation 200`.
"""

from mdhfl.runs.recipe import Plan

PLAN = Plan(
    name="feddf",
    summary="FedDF: weights leave the sites; averages learn from all models at the server",
    method="feddf",
    rounds=40,
    parameters={
        "warm_up_epochs": 1,
        "local_epochs": 1,
        "grouped": True,
        "distil_batches": 10000,
        "distil_patience": 1000,
        "distil_batch_size": 128,
        "distil_learning_rate": 0.001,
    },
)

if __name__ == "__main__":
    from mdhfl.commands.recipe import main

    main(PLAN)
