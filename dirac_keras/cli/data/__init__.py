"""The group `dirac-keras data`: what a data set holds, and what a training makes of it."""
