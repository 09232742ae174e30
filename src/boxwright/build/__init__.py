"""Building images: the Dockerfile language, contexts, the solver and its operations."""
