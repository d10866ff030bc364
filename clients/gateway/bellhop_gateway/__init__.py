"""Bellhop over HTTP and JSON: an ASGI application that translates for a Bellhop server."""
