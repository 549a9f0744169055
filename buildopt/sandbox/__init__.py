"""Base images and registries on loopback: what the demo and the tests run against."""
