"""HTTP/2 as a server speaks it, for any simulated provider: `ServerConnection` tells a `Handler` of its requests."""
