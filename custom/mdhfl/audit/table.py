"""An audit in the terminal, on 80 columns."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mdhfl.audit.audit import LIRA, Audit, Membership, SiteAudit
from mdhfl.audit.intervals import RATES, Estimate
from mdhfl.audit.lights import AMBER, GREEN, GREY, RED, light_of_membership
from mdhfl.showing.console import open_console
from mdhfl.showing.texts import one_line

NARROWEST = 80  # characters: in a log file, where there is no terminal to fit
NONE = "\N{EN DASH}"
MARKS = {GREY: "", GREEN: "", AMBER: " !", RED: " !!"}  # for whoever sees no colour
STYLES = {GREY: "", GREEN: "green", AMBER: "yellow", RED: "bold red"}
LEGEND = "! amber, !! red; docs/privacy.md says what each measure and threshold means"


def print_audit(audit: Audit) -> None:
    """Print an audit to standard output."""
    open_console(narrowest=NARROWEST).print(audit_tables(audit))


def audit_tables(audit: Audit) -> Group:
    """Lay out an audit: a line per site, then the attacks on membership over all sites, then what to know."""
    notes = [*audit.notes, *(f"{each.site}: {note}" for each in audit.sites for note in each.notes)]
    kept = [_sites(audit), *([_attacks(audit.together)] if audit.together else [])]
    return Group(*kept, *(Text(f"* {one_line(note)}") for note in [*notes, LEGEND]))


def _sites(audit: Audit) -> Table:
    table = _table(f"{one_line(audit.method)}: what each site gave away")
    table.add_column("site", overflow="fold", min_width=6)
    for name in ("label error (of a guess)", "AUC, messages", "AUC, model", "images, dB", "exact counts", "kB sent"):
        table.add_column(name, justify="right", overflow="fold", min_width=5)
    for each in audit.sites:
        table.add_row(Text(one_line(each.site)), *_cells(each))
    return table


def _cells(site: SiteAudit) -> list[Text]:
    lights, labels = site.lights, site.labels
    error = NONE if labels is None or labels.error is None else f"{labels.error:.2f} ({labels.uniform:.2f})"
    gain = NONE if site.inversion is None else f"{site.inversion.gain:+.1f}"
    threats: dict[str, list[Membership]] = {}
    for one in site.membership:
        threats.setdefault(one.threat, []).append(one)
    found = {name: _worst(attacks) for name, attacks in threats.items()}
    messages, model = (next((v for k, v in found.items() if word in k), NONE) for word in ("messages", "model"))
    counts = "by class" if site.counts.by_class else "some" if len(site.counts.told) > 1 else "total"
    return [
        _lit(error, lights["labels"]),
        _lit(messages, lights["messages"]),
        _lit(model, lights["model"]),
        _lit(gain, lights["inversion"]),
        _lit(counts, lights["counts"]),
        Text(f"{site.counts.total / 1000:,.0f}"),
    ]


def _worst(attacks: Sequence[Membership]) -> str:
    """Return the AUC of the calibrated attack, or of the floor where there are no shadow models (a note says why)."""
    one = next((each for each in attacks if each.attack == LIRA), attacks[0])
    return _interval(one.found.auc)


def _attacks(together: Sequence[Membership]) -> Table:
    table = _table("membership, images of all sites together (95 % intervals over images)")
    for name in ("attacker", "attack"):
        table.add_column(name, overflow="fold", min_width=8)
    for name in ("members, others", "AUC", *(f"found at {100 * rate:g} % false" for rate in RATES)):
        table.add_column(name, justify="right", overflow="fold", min_width=6)
    for one in together:
        found = one.found
        few = [_share(found.tpr.get(rate)) for rate in RATES]
        table.add_row(
            one.threat, one.attack, f"{found.members}, {found.non_members}",
            _lit(_interval(found.auc), light_of_membership(found)), *few,
        )  # fmt: skip
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)


def _lit(text: str, light: str) -> Text:
    return Text(f"{text}{MARKS[light]}", style=STYLES[light])


def _interval(value: Estimate | None) -> str:
    return "too few images" if value is None else f"{value.value:.2f} ({value.low:.2f}\N{EN DASH}{value.high:.2f})"


def _share(value: Estimate | None) -> str:
    return "too few images" if value is None else f"{value.value:.1%}"
