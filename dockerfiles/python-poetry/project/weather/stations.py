"""Stations and their measurements."""

from __future__ import annotations

import attrs
import numpy as np
import yaml


@attrs.frozen
class Station:
    name: str
    temperatures: np.ndarray = attrs.field(converter=lambda values: np.asarray(values, dtype=float), eq=False)

    def row(self) -> tuple[str, int, float, float, float]:
        found = self.temperatures
        return self.name, found.size, found.min(), float(np.median(found)), found.max()


def load(text: str) -> list[Station]:
    return [Station(name, values) for name, values in sorted(yaml.safe_load(text).items()) if values]
