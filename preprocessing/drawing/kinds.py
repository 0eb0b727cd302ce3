"""What each class of white blood cell looks like, as ranges that a cell's features are drawn from.

Neighbouring classes overlap on purpose, as they do on a smear: band and segmented neutrophils, myelocytes and
metamyelocytes, typical and atypical lymphocytes.
"""

from dataclasses import dataclass, field

Range = tuple[float, float]  # of most cells; some lie beside it


@dataclass(frozen=True)
class Nucleus:
    """A bent, beaded band; a round nucleus is a band of nearly no length.

    Attributes:
        radius: half its thickness, as a share of the cell's radius.
        length: of its middle line, as a share of the cell's radius.
        bend: how far the middle line turns, radians.
        lobes: fewest and most.
        pinch: how much thinner it is between two lobes: 0 not, 1 cut through.
        dark: amount of chromatin.
        coarse: contrast of its texture.
        wobble: irregularity, micrometres.
        off_centre: as a share of the cell's radius.
        nucleoli: fewest and most pale spots.
    """

    radius: Range
    length: Range = (0.0, 0.25)
    bend: Range = (0.0, 0.6)
    lobes: tuple[int, int] = (1, 1)
    pinch: Range = (0.0, 0.0)
    dark: Range = (0.85, 1.1)
    coarse: Range = (0.10, 0.2)
    wobble: Range = (0.1, 0.35)
    off_centre: Range = (0.0, 0.15)
    nucleoli: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Granules:
    """Dots in the cytoplasm.

    Attributes:
        count: fewest and most.
        size: radius in micrometres.
        stain: amount of chromatin-like purple, basophilia and eosin in a granule.
        over_nucleus: how strongly they lie over the nucleus too, 0 to 1.
        visible: 0 washed out, 1 fully stained.
    """

    count: tuple[int, int]
    size: Range
    stain: tuple[float, float, float]
    over_nucleus: float = 0.0
    visible: Range = (0.4, 0.95)


@dataclass(frozen=True)
class Kind:
    """One class.

    Attributes:
        radius: of the cell, micrometres.
        nucleus: its shape and texture.
        blue: basophilia of the cytoplasm.
        pink: eosin of the cytoplasm.
        stretch: long by short axis.
        wobble: irregularity of the outline as a share of the radius.
        rim: how much more the cytoplasm's edge stains.
        granules: none, one sort, or several.
        vacuoles: fewest and most clear bubbles.
        smeared: 0 whole; 1 a burst cell: no cytoplasm, the chromatin in streaks.
    """

    radius: Range
    nucleus: Nucleus
    blue: Range
    pink: Range
    stretch: Range = (1.0, 1.2)
    wobble: Range = (0.01, 0.05)
    rim: float = 0.1
    granules: tuple[Granules, ...] = field(default=())
    vacuoles: tuple[int, int] = (0, 0)
    smeared: float = 0.0


NEUTROPHIL_GRANULES = Granules((20, 50), (0.18, 0.3), (0.12, 0.05, 0.18), over_nucleus=0.1)
AZUROPHILIC = Granules((25, 80), (0.22, 0.38), (0.75, 0.0, 0.2), over_nucleus=0.35)

KINDS: dict[str, Kind] = {
    "basophil": Kind(
        radius=(5.0, 6.8),
        nucleus=Nucleus((0.42, 0.58), (0.3, 0.9), (0.5, 2.5), (1, 3), (0.1, 0.5), dark=(0.6, 1.0)),
        blue=(0.1, 0.4),
        pink=(0.2, 0.5),
        granules=(Granules((35, 110), (0.35, 0.6), (1.25, 0.2, 0.1), over_nucleus=0.9, visible=(0.6, 0.95)),),
    ),
    "eosinophil": Kind(
        radius=(5.8, 7.6),
        nucleus=Nucleus((0.32, 0.42), (0.7, 1.1), (0.6, 2.6), (2, 3), (0.4, 0.9), off_centre=(0.1, 0.35)),
        blue=(0.0, 0.15),
        pink=(0.3, 0.7),
        granules=(Granules((40, 130), (0.32, 0.52), (0.05, 0.0, 1.5), over_nucleus=0.15, visible=(0.25, 0.95)),),
    ),
    "erythroblast": Kind(
        radius=(4.1, 5.9),
        nucleus=Nucleus((0.44, 0.69), (0.0, 0.15), dark=(0.95, 1.35), coarse=(0.1, 0.25), off_centre=(0.0, 0.25)),
        blue=(0.15, 0.65),
        pink=(0.15, 0.5),
        rim=0.05,
    ),
    "myeloblast": Kind(
        radius=(6.2, 9.0),
        nucleus=Nucleus((0.7, 0.84), (0.05, 0.25), dark=(0.65, 0.9), coarse=(0.03, 0.1), nucleoli=(1, 4)),
        blue=(0.5, 0.8),
        pink=(0.0, 0.15),
        rim=0.25,
    ),
    "promyelocyte": Kind(
        radius=(7.2, 9.8),
        nucleus=Nucleus((0.56, 0.72), (0.1, 0.3), dark=(0.65, 0.95), coarse=(0.06, 0.14), off_centre=(0.1, 0.3),
                        nucleoli=(0, 2)),
        blue=(0.35, 0.65),
        pink=(0.1, 0.3),
        granules=(AZUROPHILIC,),
    ),
    "myelocyte": Kind(
        radius=(6.2, 8.4),
        nucleus=Nucleus((0.5, 0.64), (0.05, 0.4), (0.2, 1.2), dark=(0.8, 1.05), off_centre=(0.2, 0.42)),
        blue=(0.12, 0.4),
        pink=(0.2, 0.45),
        granules=(NEUTROPHIL_GRANULES, Granules((0, 20), (0.22, 0.35), (0.7, 0.0, 0.2))),
    ),
    "metamyelocyte": Kind(
        radius=(6.0, 8.0),
        nucleus=Nucleus((0.4, 0.53), (0.5, 0.95), (1.2, 2.8), (1, 2), (0.0, 0.25), off_centre=(0.1, 0.35)),
        blue=(0.05, 0.25),
        pink=(0.25, 0.5),
        granules=(NEUTROPHIL_GRANULES,),
    ),
    "neutrophil_banded": Kind(
        radius=(5.6, 7.4),
        nucleus=Nucleus((0.24, 0.33), (1.5, 2.2), (2.8, 4.6), (1, 2), (0.0, 0.35), off_centre=(0.0, 0.2)),
        blue=(0.0, 0.14),
        pink=(0.22, 0.5),
        granules=(NEUTROPHIL_GRANULES,),
    ),
    "neutrophil_segmented": Kind(
        radius=(5.6, 7.4),
        nucleus=Nucleus((0.26, 0.36), (1.6, 2.6), (1.5, 4.6), (3, 5), (0.58, 0.95), off_centre=(0.0, 0.2)),
        blue=(0.0, 0.12),
        pink=(0.22, 0.5),
        granules=(NEUTROPHIL_GRANULES,),
    ),
    "monocyte": Kind(
        radius=(6.2, 8.8),
        nucleus=Nucleus((0.4, 0.62), (0.2, 1.2), (0.8, 3.2), (1, 3), (0.0, 0.3), dark=(0.65, 0.95),
                        coarse=(0.08, 0.18), wobble=(0.3, 0.7)),
        blue=(0.28, 0.55),
        pink=(0.1, 0.3),
        wobble=(0.03, 0.1),
        granules=(Granules((10, 40), (0.15, 0.25), (0.25, 0.0, 0.1)),),
        vacuoles=(0, 6),
    ),
    "lymphocyte_typical": Kind(
        radius=(4.6, 7.0),
        nucleus=Nucleus((0.72, 0.9), (0.0, 0.3), dark=(0.9, 1.25), coarse=(0.12, 0.25), off_centre=(0.0, 0.14)),
        blue=(0.25, 0.7),
        pink=(0.0, 0.15),
    ),
    "lymphocyte_atypical": Kind(
        radius=(5.8, 8.6),
        nucleus=Nucleus((0.56, 0.78), (0.1, 0.5), (0.2, 1.5), dark=(0.75, 1.05), coarse=(0.08, 0.2),
                        wobble=(0.3, 0.8), off_centre=(0.0, 0.25), nucleoli=(0, 2)),
        blue=(0.5, 0.85),
        pink=(0.0, 0.1),
        stretch=(1.0, 1.35),
        wobble=(0.04, 0.12),
        rim=0.6,
        vacuoles=(0, 2),
    ),
    "smudge_cell": Kind(
        radius=(5.5, 8.5),
        nucleus=Nucleus((0.75, 0.95), (0.0, 0.4), dark=(0.35, 0.75), coarse=(0.12, 0.3), wobble=(0.6, 1.6)),
        blue=(0.0, 0.1),
        pink=(0.0, 0.15),
        stretch=(1.0, 1.5),
        smeared=1.0,
    ),
}  # fmt: skip

CLASSES = tuple(KINDS)
