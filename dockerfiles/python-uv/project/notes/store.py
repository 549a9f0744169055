"""Notes in memory."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Store:
    notes: dict[int, str] = field(default_factory=dict)

    def add(self, text: str) -> int:
        number = max(self.notes, default=0) + 1
        self.notes[number] = text
        return number

    def find(self, word: str) -> list[int]:
        return [number for number, text in self.notes.items() if word.lower() in text.lower()]
