"""What split_stages knows of each ecosystem, and what all of them share."""
