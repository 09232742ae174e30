"""What the registry says of itself: logs, metrics, webhooks."""
