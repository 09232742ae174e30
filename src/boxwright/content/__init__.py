"""Bytes named by digest: the store on disk, its database, leases, the collector's mark, and `copy`."""
