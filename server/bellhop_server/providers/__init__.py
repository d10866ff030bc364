"""Push networks: a folder each, over HTTP/2, TLS and a pool that they share."""
