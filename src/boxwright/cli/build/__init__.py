"""The command `build`."""
