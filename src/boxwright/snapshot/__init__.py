"""Writable and read-only trees over stacks of layers, behind one protocol with three drivers."""
