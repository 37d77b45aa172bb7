"""What is read where a command is given the folder of a run."""

import shutil

import pytest

from dirac_keras.cli.reading import Reading
from dirac_keras.errors import UserError
from dirac_keras.training import TrainConfig, train
from pipelines import load_splits


@pytest.mark.slow
def test_model_copied_in_from_another_run_is_refused_from_the_folder_and_read_as_a_file(tmp_path):
    small = {"data": "digits", "depth": 10, "width": 0.25, "epochs": 1, "max_train": 256, "max_test": 64}
    for seed in (0, 1):
        config = TrainConfig(**small, seed=seed)
        train(config, load_splits(**config.data_arguments()), tmp_path / str(seed))
    own, _ = Reading().open(tmp_path / "0")
    shutil.copy(tmp_path / "1" / "model.keras", tmp_path / "0" / "model.keras")
    with pytest.raises(UserError, match=r"0/model\.keras is of another run than the folder"):
        Reading().open(tmp_path / "0")
    model, metadata = Reading().open(tmp_path / "0" / "model.keras")
    assert metadata["seed"] == 1 and model.count_params() == own.count_params()
    (tmp_path / "0" / "config.json").unlink()  # nothing says any more whose it is
    assert Reading().open(tmp_path / "0")[1]["seed"] == 1
