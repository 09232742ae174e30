"""Caches that travel: records of steps and their layers beside the build, in registries, directories, S3 and GitHub."""
