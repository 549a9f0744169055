"""Structural rewrites. Each is a module with NAME, a docstring that explains it, and ``rewrite``."""

from __future__ import annotations

from buildopt.dockerfile.passes import cache_mounts, split_stages
from buildopt.dockerfile.passes.result import Pass

# In this order: a build stage of its own first, then what both kinds of file have in common.
PASSES: tuple[Pass, ...] = (split_stages, cache_mounts)
