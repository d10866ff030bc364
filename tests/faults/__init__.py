"""What may go wrong at a provider, from Send to the streamed result."""
