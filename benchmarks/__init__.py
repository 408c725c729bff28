"""What autoattach costs, measured beside what people use without it: ``python -m benchmarks`` in the checkout."""
