"""Store the configured sources, their deliveries and their health."""
