"""One buildx build into one OCI artifact."""
