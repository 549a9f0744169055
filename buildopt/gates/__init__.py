"""Gates: what an artifact must pass before it counts as built."""
