"""Docker/BuildKit build optimizer: lint, rewrite, build once, push the same bytes everywhere."""

__version__ = "0.1.0"
