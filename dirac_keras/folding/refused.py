"""Why a scale and a shift cannot go somewhere."""


class Refused(Exception):
    """Why a BatchNormalization cannot be folded in a direction, as a sentence without its subject."""
