"""What is shown while a build or a transfer goes on."""
