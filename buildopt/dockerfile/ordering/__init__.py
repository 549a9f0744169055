"""What order_layers knows: what an install reads, and how it moves above the sources."""
