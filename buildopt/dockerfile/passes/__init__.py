"""Structural rewrites. Each is a module with NAME, a docstring that explains it, and ``rewrite``."""
