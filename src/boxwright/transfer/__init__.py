"""Images moved between registries, the local store, archives and OCI layouts."""
