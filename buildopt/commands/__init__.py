"""One file a subcommand: load, call one domain function, render, return an exit code."""
