"""The rule of embeddings: a table of what it returns."""

import keras

from dirac_keras.folding.rules.base import Rule, rule, to_float64


@rule(keras.layers.Embedding)
class EmbeddingRule(Rule):
    """Each row is scaled and shifted."""

    def read(self, layer):
        self.embeddings = to_float64(layer.embeddings)

    def refuses_input(self, shift):
        return "looks its input up in a table"

    def absorb_output(self, scale, shift):
        self.embeddings = self.embeddings * scale + shift
        self.has_new_kernel = True

    def weights(self):
        return [self.embeddings]
