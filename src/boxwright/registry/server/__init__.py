"""The registry server: the OCI distribution specification, namespaces, search, access, a mirror, pages."""
