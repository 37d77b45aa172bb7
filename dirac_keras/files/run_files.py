"""Names of the files of a run, for a folder that has no list of them."""

# What TensorFlow writes under names of its own.
TENSORBOARD = tuple(f"tb/{part}/events.out.tfevents.*" for part in ("train", "validation", "diagnostics"))
TENSORBOARD += ("tb/plugins/profile/*/*", "tb/events.out.tfevents.*")
# What is in the folder of a run of 0.1.0 or before, which has no list of its files.
KNOWN_FILES = (
    *("config.json", "network.json", "metrics.csv", "scales.csv", "scales.png", "skips.csv", "skips.png", "curves.png"),
    *("model.keras", "summary.json", "deployment.json", "folded.keras", "diverged.txt"),
    *("diagnostics.json", "diagnostics.html", "checkpoints/step-*.keras", "checkpoints/epoch-*.keras", *TENSORBOARD),
    *("saved_model/saved_model.pb", "saved_model/fingerprint.pb", "saved_model/dirac_keras.json"),
    *("saved_model/assets/labels.txt", "saved_model/variables/variables.*"),
)
