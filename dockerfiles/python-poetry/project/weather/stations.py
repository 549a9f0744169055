"""Stations and their measurements."""

from __future__ import annotations

from statistics import median

import attrs
import yaml


@attrs.frozen
class Station:
    name: str
    temperatures: tuple[float, ...] = attrs.field(converter=lambda values: tuple(map(float, values)))

    def row(self) -> tuple[str, int, float, float, float]:
        found = self.temperatures
        return self.name, len(found), min(found), median(found), max(found)


def load(text: str) -> list[Station]:
    return [Station(name, values) for name, values in sorted(yaml.safe_load(text).items()) if values]
