"""What cache_mounts knows: who gets a mount, where, and why not."""
