"""What a hub shows of a network: the model card, `config.json` and `model.safetensors`."""

from dirac_keras.deployment.card.facts import CardFacts, accuracy_by_class
from dirac_keras.deployment.card.hub import load_hub_folder, write_hub_files
from dirac_keras.deployment.card.writing import card_path, check_card, write_card

__all__ = [
    "CardFacts",
    "accuracy_by_class",
    "card_path",
    "check_card",
    "load_hub_folder",
    "write_card",
    "write_hub_files",
]
