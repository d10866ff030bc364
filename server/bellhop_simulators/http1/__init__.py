"""HTTP/1.1 as a server speaks it, told to the same `Handler` as HTTP/2."""
