"""What fields cost: measured by scripts/bench_speed.py."""
