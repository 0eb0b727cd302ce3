"""An audit with every kind of number in it, for tests of whatever shows it; nothing is trained."""

from collections.abc import Sequence
from pathlib import Path

from mdhfl.audit.audit import FLOOR, HOLDER, LIRA, RECEIVER, Audit, Membership, SiteAudit
from mdhfl.audit.counts import CountsAudit
from mdhfl.audit.intervals import Estimate, Separation
from mdhfl.audit.inversion import InversionAudit
from mdhfl.audit.labels import LabelAudit


def attacks(low: float, *, members: int = 200) -> tuple[Membership, ...]:
    """All four attacks, with an AUC 0.05 above a lower end."""
    found = Separation(
        members=members,
        non_members=members,
        auc=Estimate(value=low + 0.05, low=low, high=low + 0.1),
        tpr={0.01: Estimate(value=0.03, low=0.01, high=0.06), 0.001: None},
    )
    return tuple(Membership(threat=t, attack=a, found=found) for t in (RECEIVER, HOLDER) for a in (FLOOR, LIRA))


def audit_of(folder: Path, *, sites: Sequence[str], note: str = "messages of 2 of 9 rounds") -> Audit:
    """Return an audit whose first site is green, whose second is amber, and whose others are red or not measured."""
    lows, errors = [0.46, 0.52, 0.63, 0.64], [0.39, 0.2, 0.05, 0.04]
    found = []
    for number, site in enumerate(sites):
        kind = min(number, 3)
        gain = (-2.0, 0.5, 3.0, 4.0)[kind]
        inversion = InversionAudit(
            attack="weighted mean", images=200, psnr=15 + gain, mean_psnr=15, ssim=0.3, mean_ssim=0.35, gain=gain,
            low=gain - 0.2, high=gain + 0.2,
        )  # fmt: skip
        told = (("training images in all",), ("classes that the site lacks", "training images in all"))[kind > 0]
        counts = CountsAudit(
            told=told if kind < 2 else ("test images by class", *told),
            by_class=kind > 1,
            error=0.1 if kind > 1 else None,
            bytes={"shared.values": 72000, "(names and brackets)": 1907},
            total=75048,
        )
        found.append(
            SiteAudit(
                site=site,
                rounds=(3, 4),
                labels=LabelAudit(uniform=0.4, errors={"mean answer": errors[kind]}) if kind < 3 else None,
                membership=attacks(lows[kind]) if kind < 3 else (),
                inversion=inversion if kind < 3 else None,
                counts=counts,
            )
        )
    return Audit(
        folder=folder,
        method="mdhfl_plus",
        shares="probabilities",
        shadows=8,
        sites=tuple(found),
        together=attacks(0.55, members=600),
        notes=(note,),
    )
