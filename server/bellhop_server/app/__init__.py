"""The use cases, one verb each: they know the domain and the ports, and nothing of the world behind them."""
