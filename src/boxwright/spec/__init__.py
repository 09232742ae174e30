"""Pure values of the field: digests, descriptors, references, platforms, manifests, configs. No I/O."""
