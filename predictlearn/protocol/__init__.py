"""Protocols: learning experiments as YAML files, checked and run on cohorts of networks."""

from predictlearn.protocol.protocol import Protocol
from predictlearn.protocol.readout import change_readout, rotate_readout
from predictlearn.protocol.result import ProtocolResult
from predictlearn.protocol.source import shipped_protocols

__all__ = [
    "Protocol",
    "ProtocolResult",
    "change_readout",
    "rotate_readout",
    "shipped_protocols",
]
