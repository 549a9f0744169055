"""A private Docker engine, or the usable one that is already there."""
