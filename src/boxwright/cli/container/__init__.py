"""Commands about containers: creating and running them, their life, their streams."""
