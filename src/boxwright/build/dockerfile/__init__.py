"""The Dockerfile language: parsing, expansion, typed instructions, checks. Pure: no input or output."""
