"""Builds a Dockerfile before and after a rewrite on a real engine, and compares what came of both."""
