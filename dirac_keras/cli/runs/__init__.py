"""The group `dirac-keras runs`: the runs in a folder listed, compared and pruned."""
