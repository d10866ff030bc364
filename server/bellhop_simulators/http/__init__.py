"""What HTTP/1.1 and HTTP/2 have in common for a simulated provider: requests, connections, and who is told of them."""
