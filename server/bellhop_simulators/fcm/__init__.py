"""Google's HTTP v1 API for Firebase Cloud Messaging, and its access tokens, as a sender sees them."""
