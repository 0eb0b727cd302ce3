"""Why a site gives no result, as it tells others: one of these sentences. What else it knows stays in its log.

An exception's text may name files, labels and paths, so none leaves a site. What leaves is a code, its sentence, a
reference to the full text in the site's own log, and fields that say nothing new: numbers, digests of public images,
names that the federation knows.
"""

import re
from collections.abc import Collection
from typing import Any

REASONS = {
    "version": 'it runs mdhfl "{version}" and cannot read what the server\'s says; install the same version on both',
    "method_unknown": "it cannot run this method: unknown to it, not trusted by its site.json, or wrongly set",
    "method_not_allowed": (
        'its site.json does not allow what this method shares; to take part, its IT adds "{permission}" to "may_share"'
    ),
    "defended": (
        'its site.json has a defence, "{defence}", that cannot be met with this method; its IT changes it, or another '
        "method is chosen"
    ),
    "private_network": (
        "its network cannot be trained with differential privacy, which its site.json asks for; its IT gives it a "
        "bundle without batch normalisation, such as mobilenet_v2_group"
    ),
    "privacy_unmet": (
        "its privacy budget cannot be met with what this experiment asks for; its IT reads what could be met, or fewer "
        "epochs are asked for"
    ),
    "budget_spent": "it has spent its privacy budget and trains no more; its IT alone decides on a larger one",
    "privacy_extra": "it lacks the packages of its differential privacy; its IT installs mdhfl[dp] there",
    "extra_missing": "it lacks packages that this method needs; its IT installs mdhfl[swarm] there",
    "method_needs_all": "this method pools all sites' images; only --engine inprocess can run it",
    "settings": "its site.json cannot be used; `mdhfl check` says what is wrong with it",
    "device": "its site.json names a GPU that is not there; `mdhfl check` says what there is",
    "bundle": "its network cannot be built from its bundle; `mdhfl check` says what is wrong with it",
    "private_images": "its own images could not be read, or changed since they were prepared",
    "public_images": "its public images could not be read; copy the federation's public folder to it again",
    "classes_differ": "its data has other classes than the federation; prepare it with the federation's label space",
    "public_set_differs": (
        "its public set differs: expected digest {expected}, it has {got}; copy the federation's public folder to it"
    ),
    "public_not_accepted": (
        "its IT has not accepted the public set {expected} that the server offers; `mdhfl accept-public` shows its "
        "licence and origin there, and accepts it"
    ),
    "public_not_hosted": (
        "it has no public set of its own, and the server hosts none of digest {expected}; its operator runs `mdhfl "
        "server-kit --public`"
    ),
    "public_offer": "what the server sent of the public set {expected} is not sound, or not what it offered",
    "public_too_large": "the public set {expected} takes more of its disk than its IT allows (largest_public)",
    "public_incomplete": (
        "the public set {expected} is not whole yet; what came is kept, and it fetches the rest when it is asked next"
    ),
    "too_few_images": "it has fewer training images than its IT asks for before anything is shared",
    "too_few_classes": "it has training images of fewer classes than its IT asks for before anything is shared",
    "too_few_sites": "its IT asks for more sites in a blind sum before anything is shared",
    "blind": "it takes no part in this blind sum: what it was told of it does not fit what it knows; its IT reads why",
    "request": "what the server sent could not be used; is its mdhfl the same version?",
    "lesson": "it could not learn from what it was taught; leave it out of this round: it is asked again next",
    "taught": (
        "it diverged in round {round} by what it was taught, not by its own training, and goes on from its last good "
        "state"
    ),
    "diverged": (
        "its training diverged in round {round}, and its last good state is kept; its IT lowers the learning rate in "
        "its bundle, or finds wrong images, and lets it go on with `mdhfl restart-site`"
    ),
    "other_experiment": (
        "this experiment was begun with something else: {differs}; put it back, or start a new experiment under "
        "another id"
    ),
    "lost_state": (
        "its state of round {round} is lost or damaged; its IT restores it from a backup, or the round goes on without "
        "it: resume with a smaller --min-sites"
    ),
    "in_use": "another process works on this experiment at this site; wait until it has ended",
    "already_finished": (
        "it has already finished round {finished} of this experiment, but was asked for round {round}; give the new "
        "experiment another id, or let its IT delete its state of this one"
    ),
    "no_model": "it has no model to share: it has not finished round 0",
    "disk_full": "its disk is full; what it kept before is safe, so free space, then resume",
    "state": "its state could not be read or written: a damaged file, or missing permissions",
    "state_format": (
        "another version of mdhfl wrote its state of this experiment; its IT installs that version again, or the "
        "experiment starts anew under another id"
    ),
    "memory": "it ran out of memory",
    "busy": "it is busy training",
    "peers": "it and the other sites could not merge their models",
    "draw": (
        "it takes no part in this draw of a leader, because what it was told of it does not fit what it knows; its IT "
        "reads why"
    ),
    "missed_merge": "the last merge did not reach it, so that its model is still the one from before it",
    "ledger": "its ledger of merges was tampered with, or cannot be read",
    "encryption": "a ciphertext or key could not be used",
    "held_back": "its answer was held back, because it was not of the form that may leave the site",
    "failed": "it failed unexpectedly",
}
TERMS = (
    "method",
    "parameters",
    "seed",
    "classes",
    "public set",
    "bundle",
    "data",
    "privacy",
)  # of an experiment, at a site
_TERM = f"(?:{'|'.join(TERMS)})"
NUMBER, DIGEST, NAME = r"(?:0|[1-9][0-9]{0,8})", r"[0-9a-f]{8}", r"[A-Za-z0-9._+-]{1,100}"
FIELDS = {
    "round": NUMBER,
    "finished": NUMBER,
    "expected": DIGEST,
    "got": DIGEST,
    "permission": NAME,
    "version": NAME,
    "defence": "(?:temperature|top_k|confidence|answered|precision|rounds|privacy)",
    "differs": f"{_TERM}(?:, {_TERM})*",
}
REFERENCE = re.compile(r"[0-9a-f]{8}")
BY_TYPE = {  # exception's class -> code; by name, since their modules are slow to import
    "MessageError": "request",
    "BundleError": "bundle",
    "DataError": "private_images",
    "TrainingDiverged": "diverged",
    "MissingExtra": "extra_missing",
    "LedgerError": "ledger",
    "CipherError": "encryption",
    "PeerError": "peers",
    "StateError": "state",
    "Damaged": "state",
    "InUse": "in_use",
    "OtherFormat": "state_format",
    "MemoryError": "memory",
    "OutOfMemoryError": "memory",
}


class Refusal(ValueError):
    """Something that a site does not do.

    Attributes:
        code: one of REASONS.
        fields: what its sentence needs, see FIELDS.
    """

    def __init__(self, code: str, text: str, **fields: Any) -> None:
        """Take the code that leaves the site with its fields, and the full text, which stays there."""
        super().__init__(text)
        self.code = code
        self.fields = fields


def sentence(code: str, *, site: str, reference: str, **fields: Any) -> str:
    """Return what a site tells others.

    Args:
        code: one of REASONS.
        site: whose it is.
        reference: 8 hexadecimal digits, of the entry in the site's log.
        fields: of the sentence; others are left out.
    """
    return f"site {site!r}: {REASONS[code].format(**fields)} ({code}; site.log: {reference})"


def is_sentence(text: str, *, site: str, names: Collection[str]) -> bool:
    """Return whether a text is what `sentence` makes for this site, with no other names in it than these."""
    for code in REASONS:
        found = _pattern(code, site=site).fullmatch(text)
        if found is not None:
            said = found.groupdict()
            return all(said[name] in names for name in said if FIELDS[name] == NAME)
    return False


def _pattern(code: str, *, site: str) -> "re.Pattern[str]":
    named = re.escape(sentence(code, site=site, reference="@@", **{name: f"@{name}@" for name in FIELDS}))
    for name, form in FIELDS.items():
        named = named.replace(re.escape(f"@{name}@"), f"(?P<{name}>{form})")
    return re.compile(named.replace(re.escape("@@"), REFERENCE.pattern))
