"""Containers: records, the OCI spec made of them, and one supervisor process for each that runs."""
