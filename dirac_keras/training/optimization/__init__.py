"""How the weights are moved: losses, optimizers, schedules of the rate, and what is averaged, clipped or summed."""
