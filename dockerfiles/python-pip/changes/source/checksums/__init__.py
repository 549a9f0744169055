"""Checksums of files, as a service."""

__version__ = "1.4.1"
