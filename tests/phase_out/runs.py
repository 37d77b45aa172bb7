"""A small run of a DiracNet that loses its identities while it trains."""

RUN = {
    "data": "digits",
    "depth": 10,
    "width": 0.125,
    "epochs": 3,
    "batch_size": 64,
    "max_train": 192,
    "max_test": 64,
    "precision": "float32",
}
