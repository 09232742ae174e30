"""The operations that build steps perform, one module each. `graph.Op` is what they have in common."""
