"""Receive deliveries from programs: authenticate the raw bytes, record the items, answer once they are durable."""
