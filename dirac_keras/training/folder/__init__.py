"""The folder of a run: its files, whose they are, and what state of the training they hold."""
