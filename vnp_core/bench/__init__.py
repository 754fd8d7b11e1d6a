"""What the benchmarks share: training, scoring, figures, and the systems that are compared."""

import os

# PyTorch's profiler, by which memory is measured, is talkative. It reads this when torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
