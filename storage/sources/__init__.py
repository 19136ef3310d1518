"""Keep sources, their deliveries and their health."""
