"""Two runs and a report in ten lines: `python examples/quickstart.py`. Draws its own cells; needs no data."""

import mdhfl

mdhfl.prepare("synthetic", sites=4, per_site=200, out="fed")
a = mdhfl.run("fed", mdhfl.methods.Mdhfl(ce_weight=1.0), rounds=5, out="runs/a")  # or engine="flare"
b = mdhfl.run("fed", "local", rounds=5, out="runs/b")
print(a.scores.query("part == 'test' and score == 'macro_f1'").groupby("round").value.mean())
print(mdhfl.report([a, b], out="report"))
