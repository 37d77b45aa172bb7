"""The common corruptions of Hendrycks & Dietterich 2019 as functions of one image, in NumPy, SciPy and Pillow."""
