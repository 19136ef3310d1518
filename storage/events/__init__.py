"""Write events to the outbox, publish them, and record their deliveries to subscriptions."""
