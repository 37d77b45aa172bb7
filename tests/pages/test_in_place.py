"""Names that run from right to left in the text of a picture."""

from dirac_keras.pages import in_place


def test_a_number_behind_a_name_stays_behind_it():
    """Left-to-right marks on both sides: without them the number is drawn to the left of the name."""
    assert in_place("\u05db\u05dc\u05d1") == "\u200e\u05db\u05dc\u05d1\u200e"
    assert in_place("cat") == "cat"
