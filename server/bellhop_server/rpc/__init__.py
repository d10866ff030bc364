"""The edge: everything that knows the messages of the contract, and gRPC."""
