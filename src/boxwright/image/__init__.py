"""Images: names that point at manifests, and everything that reads, writes, moves and removes them."""
