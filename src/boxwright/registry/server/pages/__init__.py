"""The registry's web interface: rendered here, works without JavaScript, needs nothing from elsewhere."""
