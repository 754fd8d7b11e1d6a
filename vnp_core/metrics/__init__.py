"""How good a prediction's uncertainty is: likelihood, calibration, and which errors it points at."""
