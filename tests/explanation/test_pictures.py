"""Pictures of explanations."""

import numpy as np
import pytest

from dirac_keras.explanation.pictures import MARGIN, PANEL, draw_explanations
from dirac_keras.explanation.result import Explanation

NAMES = (
    "ok",
    "w" * 200,
    "a name of many words " * 9,
    "$x_1$ <img src=x onerror=alert(1)>",
    "\N{ARABIC LETTER ALEF}" * 90,
)


@pytest.mark.parametrize("place", range(len(NAMES)))
def test_names_above_the_panels_do_not_reach_into_one_another(place):
    maps = np.random.default_rng(0).normal(size=(1, 8, 8)).astype("float32")
    one = Explanation("occlusion", maps, (place,), (place,), NAMES, (1.0,), (0.5,), True)
    figure = draw_explanations(np.zeros((8, 8, 3), "uint8"), [one], 0)
    figure.canvas.draw()
    titles = [axis._left_title for axis in figure.axes[:2]]
    widths = [title.get_window_extent().width / figure.dpi for title in titles]
    assert max(widths) <= PANEL - MARGIN + 0.1
    assert titles[1].get_text().endswith(", 50.0%")
