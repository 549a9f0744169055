"""Dockerfiles: a lossless model, rules and rewrites."""
