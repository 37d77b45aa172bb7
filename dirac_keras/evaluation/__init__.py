"""A trained network judged in depth: intervals, classes, calibration, mistakes, comparison, corruptions, a report."""
