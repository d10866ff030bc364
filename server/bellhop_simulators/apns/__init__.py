"""Apple Push Notification service, simulated."""
