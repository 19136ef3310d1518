"""Take what programs send: deliveries in, verified over their raw bytes, and answered once they are durable."""
