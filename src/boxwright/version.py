"""The version: a leaf, so that asking for it imports neither the SDK nor what the SDK imports."""

__version__ = "0.1.0"
