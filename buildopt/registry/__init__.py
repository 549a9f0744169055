"""Pushing artifacts to registries, bytes as they are."""
