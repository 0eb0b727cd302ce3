"""One file per algorithm. A method is looked up by its name and made from plain values."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mdhfl.methods.centralised import Centralised
from mdhfl.methods.fedavg import FedAvg
from mdhfl.methods.feddf import FedDf
from mdhfl.methods.fedmd import FedMd
from mdhfl.methods.fedprox import FedProx
from mdhfl.methods.local import Local
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.methods.mdhfl_attention import MdhflAttention
from mdhfl.methods.mdhfl_geometric import MdhflGeometric
from mdhfl.methods.method import Method
from mdhfl.methods.rhfl import Rhfl
from mdhfl.methods.sl_fedl import SlFedl
from mdhfl.methods.swarm_fhe import SwarmFhe

METHODS: dict[str, type[Method]] = {
    "mdhfl": Mdhfl,
    "mdhfl_geometric": MdhflGeometric,
    "mdhfl_attention": MdhflAttention,
    "rhfl": Rhfl,
    "fedmd": FedMd,
    "feddf": FedDf,
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "sl_fedl": SlFedl,
    "swarm_fhe": SwarmFhe,
    "local": Local,
    "centralised": Centralised,
}


def create(name: str, parameters: Mapping[str, Any]) -> Method:
    """Make a method from its name and all its hyper-parameters.

    Raises:
        ValueError: no such method; a parameter is unknown, missing or out of range.
    """
    if name not in METHODS:
        raise ValueError(f"no method {name!r}; there are: {', '.join(sorted(METHODS))}")
    known = [field.name for field in fields(METHODS[name])]
    unknown, missing = sorted(set(parameters) - set(known)), [n for n in known if n not in parameters]
    if unknown:
        raise ValueError(f"method {name!r} has no parameter {', '.join(unknown)}; it has: {', '.join(known)}")
    if missing:
        raise ValueError(f"method {name!r} needs a value for {', '.join(missing)}")
    return METHODS[name](**parameters)
