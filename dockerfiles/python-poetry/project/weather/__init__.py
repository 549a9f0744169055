"""What weather stations measured."""
