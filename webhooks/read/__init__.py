"""Turn the bytes of a delivery into items."""
