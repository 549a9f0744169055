"""Structural rewrites. Each is a module with NAME, a docstring that explains it, and ``rewrite``.

Nothing is imported here: rules ask single passes, and need not load all of them. ``optimize.PASSES`` lists them.
"""
