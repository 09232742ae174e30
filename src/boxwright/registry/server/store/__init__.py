"""What the registry keeps: blobs in files, a catalog over them, and what keeps both in order."""
