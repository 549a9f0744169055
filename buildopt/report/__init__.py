"""Renders findings, plans, results and live progress for people and machines."""
