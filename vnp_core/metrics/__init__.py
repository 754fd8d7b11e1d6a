"""How good a prediction's uncertainty is: calibration of intervals, and the CRPS."""
