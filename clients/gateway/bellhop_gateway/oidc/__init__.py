"""Tokens of one OpenID provider: where its keys are, and what a token of its is worth."""
