"""What Bellhop costs, measured beside its peers and its limits in one run: `python -m benchmarks` (make bench)."""
