"""The language of definitions: HCL's syntax, its JSON form, and the values that its expressions have."""
