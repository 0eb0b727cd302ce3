"""Draw a stained white blood cell among red cells, from a seed, as one site's scanner sees it."""

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.drawing.kinds import KINDS, Granules, Kind, Nucleus, Range
from mdhfl.preprocessing.drawing.scanners import SUBSTANCES, Scanner, photograph
from mdhfl.preprocessing.drawing.shapes import (
    Field,
    Generator,
    Grid,
    arc,
    beads,
    blob,
    inside,
    ribbon,
    scattered,
    smooth_noise,
    speckles,
)
from mdhfl.seeds import stream

SAMPLES = 96  # points along a side that a cell is drawn on, at least
EDGE = 0.35  # micrometres over which an outline changes
SPINE = 17  # points along a nucleus
MARGIN = 0.95  # how near a nucleus comes to the cell's edge, as a share of its radius
RED_CELL = (3.1, 3.9)  # radius in micrometres


def draw_cell(class_name: str, *, seed: int, scanner: Scanner, size: int) -> NDArray[np.uint8]:
    """Draw one cell: the same arguments give the same picture.

    Args:
        class_name: one of `cell_kinds.CLASSES`.
        seed: of this one cell.
        scanner: the site's stain and microscope.
        size: side of the picture in pixels, at least 8.

    Returns:
        (size, size, 3) RGB.

    Raises:
        ValueError: an unknown class, or a size below 8.
    """
    if class_name not in KINDS:
        raise ValueError(f"class {class_name!r}: expected one of {', '.join(KINDS)}")
    if size < 8:
        raise ValueError(f"size {size}: expected at least 8 pixels")
    generator = stream(seed, "cell", class_name)
    kind = KINDS[class_name]
    grid = Grid(max(SAMPLES, 2 * size), width=scanner.field_of_view)
    centre = (float(generator.normal(0, 0.6)), float(generator.normal(0, 0.6)))
    radius = _draw(kind.radius, generator)
    amounts = np.zeros((len(SUBSTANCES), grid.samples, grid.samples))
    _add_red_cells(amounts, grid=grid, centre=centre, clear=radius, scanner=scanner, generator=generator)
    _add_platelets(amounts, grid=grid, generator=generator)
    _add_white_cell(amounts, kind=kind, grid=grid, centre=centre, radius=radius, generator=generator)
    return photograph(amounts, scanner=scanner, size=size, generator=generator)


def _add_white_cell(
    amounts: Field, *, kind: Kind, grid: Grid, centre: tuple[float, float], radius: float, generator: Generator
) -> None:
    points = _warped(grid, by=_draw(kind.nucleus.wobble, generator), generator=generator)
    body = blob(
        grid.points(),
        centre=centre,
        radius=radius,
        stretch=_draw(kind.stretch, generator),
        wobble=_draw(kind.wobble, generator),
        generator=generator,
    )
    nucleus = np.maximum(_nucleus(points, nucleus=kind.nucleus, centre=centre, radius=radius, generator=generator),
                         body + 0.15)  # fmt: skip
    if kind.smeared:
        _add_smear(amounts, shape=nucleus, kind=kind, grid=grid, generator=generator)
        return
    _add_cytoplasm(amounts, body=body, kind=kind, grid=grid, centre=centre, radius=radius, generator=generator)
    _add_chromatin(amounts, shape=nucleus, nucleus=kind.nucleus, grid=grid, centre=centre, generator=generator)
    for granules in kind.granules:
        _add_granules(
            amounts, granules, body=body, nucleus=nucleus, grid=grid, centre=centre, radius=radius, generator=generator
        )


def _add_cytoplasm(
    amounts: Field,
    *,
    body: Field,
    kind: Kind,
    grid: Grid,
    centre: tuple[float, float],
    radius: float,
    generator: Generator,
) -> None:
    blue, pink = _draw(kind.blue, generator), _draw(kind.pink, generator)
    texture = 1 + 0.13 * smooth_noise(grid, grain=1.0, generator=generator)
    texture += kind.rim * np.exp(-np.clip(-body, 0, None) / 0.8)
    count = _count(kind.vacuoles, generator)
    if count:
        places = scattered(count, centre=centre, radius=0.9 * radius, generator=generator)
        texture *= 1 - 0.85 * speckles(grid, centres=places, sizes=generator.uniform(0.4, 0.8, count))
    _cover(amounts, inside(body, edge=EDGE), chromatin=0.06 * texture, basophilia=blue * texture, eosin=pink * texture)


def _add_chromatin(
    amounts: Field, *, shape: Field, nucleus: Nucleus, grid: Grid, centre: tuple[float, float], generator: Generator
) -> None:
    dark, coarse = _draw(nucleus.dark, generator), _draw(nucleus.coarse, generator)
    clumps = smooth_noise(grid, grain=1.1, generator=generator) + 0.7 * smooth_noise(
        grid, grain=0.5, generator=generator
    )
    texture = 1 + coarse * clumps + 0.15 * np.exp(-((shape + 0.4) ** 2) / 0.1)  # a darker membrane
    count = _count(nucleus.nucleoli, generator)
    if count:
        places = scattered(count, centre=centre, radius=3.0, generator=generator)
        texture -= 0.4 * speckles(grid, centres=places, sizes=generator.uniform(0.6, 1.1, count))
    density = dark * np.clip(texture, 0.2, None)
    _cover(amounts, inside(shape, edge=EDGE), chromatin=density, basophilia=0.25 * density, eosin=0.1 * density)


def _add_smear(amounts: Field, *, shape: Field, kind: Kind, grid: Grid, generator: Generator) -> None:
    """A burst nucleus: pale, streaky, with a ragged edge."""
    dark, coarse = _draw(kind.nucleus.dark, generator), _draw(kind.nucleus.coarse, generator)
    ragged = shape + 0.5 * smooth_noise(grid, grain=1.2, generator=generator)
    texture = np.clip(1 + coarse * 1.5 * smooth_noise(grid, grain=1.6, generator=generator), 0.1, None)
    mask = inside(ragged, edge=generator.uniform(0.8, 2.2))
    _cover(amounts, 0.95 * mask, chromatin=dark * texture, basophilia=0.1 * texture, eosin=0.15 * texture)


def _add_granules(
    amounts: Field,
    granules: Granules,
    *,
    body: Field,
    nucleus: Field,
    grid: Grid,
    centre: tuple[float, float],
    radius: float,
    generator: Generator,
) -> None:
    count = _count(granules.count, generator)
    if not count:
        return
    places = scattered(count, centre=centre, radius=radius, generator=generator)
    low, high = granules.size
    dots = speckles(grid, centres=places, sizes=generator.uniform(low, high, count))
    free = 1 - (1 - granules.over_nucleus) * inside(nucleus, edge=EDGE)
    dots *= inside(body, edge=EDGE) * free
    chromatin, blue, eosin = granules.stain
    dots *= _draw(granules.visible, generator)
    _cover(amounts, np.clip(dots, 0, 0.95), chromatin=chromatin, basophilia=blue, eosin=eosin)


def _add_red_cells(
    amounts: Field, *, grid: Grid, centre: tuple[float, float], clear: float, scanner: Scanner, generator: Generator
) -> None:
    """Red cells around the white one, pale in the middle; they may touch and overlap each other."""
    points, half = grid.points(), grid.width / 2 + 2
    for _ in range(generator.poisson(scanner.crowding * (2 * half) ** 2 / 100)):
        radius, (x, y) = _draw(RED_CELL, generator), generator.uniform(-half, half, 2)
        if np.hypot(x - centre[0], y - centre[1]) < clear + 0.8 * radius:
            continue
        shape = blob(
            points,
            centre=(x, y),
            radius=radius,
            stretch=generator.uniform(1, 1.3),
            wobble=0.0,
            generator=generator,
        )
        depth = np.clip(-shape / radius, 0, 1)
        thickness = generator.uniform(0.75, 1.05) * (1 - generator.uniform(0.3, 0.8) * np.clip(1.8 * depth - 0.6, 0, 1))
        red = inside(shape, edge=EDGE) * thickness
        under = amounts[SUBSTANCES.index("haemoglobin")]
        under += red * np.clip(1 - 0.6 * under, 0, 1)


def _add_platelets(amounts: Field, *, grid: Grid, generator: Generator) -> None:
    count = int(generator.poisson(0.8))
    if count:
        places = generator.uniform(-grid.width / 2, grid.width / 2, (count, 2))
        dots = speckles(grid, centres=places, sizes=generator.uniform(0.6, 1.1, count))
        _cover(amounts, dots * 0.8, chromatin=0.55, basophilia=0.1, eosin=0.1)


def _nucleus(
    points: tuple[Field, Field], *, nucleus: Nucleus, centre: tuple[float, float], radius: float, generator: Generator
) -> Field:
    lobes = _count(nucleus.lobes, generator)
    spine = arc(length=_draw(nucleus.length, generator), bend=_draw(nucleus.bend, generator), count=SPINE)
    radii = beads(lobes=lobes, pinch=_draw(nucleus.pinch, generator), count=SPINE) * _draw(nucleus.radius, generator)
    if lobes > 1:
        spine = spine + 0.09 * generator.normal(size=(lobes, 2))[np.arange(SPINE) * lobes // SPINE]
        unequal = generator.uniform(0.8, 1.15, lobes)
        radii = radii * np.interp(np.linspace(0, lobes - 1, SPINE), np.arange(lobes), unequal)
    turn, way = generator.uniform(0, 2 * np.pi, 2)
    away = _draw(nucleus.off_centre, generator)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = away * np.array([np.cos(way), np.sin(way)])
    spine = spine @ rotation.T + shift
    reach = np.hypot(spine[:, 0], spine[:, 1])
    spine *= np.minimum(1, np.clip(MARGIN - radii, 0, None) / np.maximum(reach, 1e-6))[:, None]  # stay in the cell
    return ribbon(points, spine=radius * spine + centre, radii=radius * radii)


def _warped(grid: Grid, *, by: float, generator: Generator) -> tuple[Field, Field]:
    """The grid's points, pushed about smoothly, so that shapes drawn on them are irregular."""
    x, y = grid.points()
    push = [by * smooth_noise(grid, grain=4.0, generator=generator) for _ in range(2)]
    return x + push[0], y + push[1]


def _cover(amounts: Field, mask: Field, **layer: Field | float) -> None:
    """Lay a stained layer over what is there; substances that it does not name are hidden too."""
    for index, substance in enumerate(SUBSTANCES):
        amounts[index] += mask * (layer.get(substance, 0.0) - amounts[index])


def _draw(limits: Range, generator: Generator) -> float:
    """A feature: four cells in five lie within the limits, the others up to a third of their width beside them."""
    low, high = limits
    value = generator.normal((low + high) / 2, (high - low) / 2.6)
    beside = (high - low) / 3
    return float(np.clip(value, max(0.0, low - beside), high + beside))


def _count(limits: tuple[int, int], generator: Generator) -> int:
    return int(generator.integers(limits[0], limits[1] + 1))
