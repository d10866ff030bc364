"""Firebase Cloud Messaging, by Google's HTTP v1 API."""
