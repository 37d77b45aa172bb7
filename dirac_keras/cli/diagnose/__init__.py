"""The command `dirac-keras diagnose`: whether a network will train, and whether it survives integers."""
