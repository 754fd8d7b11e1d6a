"""Families of functions to learn and to be scored on: Gaussian processes, simulations, tables."""
