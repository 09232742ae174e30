"""The functions that expressions may call, one file a subject."""
