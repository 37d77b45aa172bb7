"""Explanations: which parts of an image a network's answer rests on, and what its layers see at all."""

from dirac_keras.explanation.explaining import METHODS as METHODS
from dirac_keras.explanation.explaining import explain as explain
from dirac_keras.explanation.receptive import receptive_field as receptive_field
from dirac_keras.explanation.receptive import receptive_fields_by_depth as receptive_fields_by_depth
from dirac_keras.explanation.result import Explanation as Explanation
