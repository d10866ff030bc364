"""The server. `main` wires it; the packages below say what they may know in docs/architecture.md."""
