"""Names of data sets as they stand in what leaves the machine."""

import pytest

from dirac_keras.deployment.public_name import public_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cifar10", "cifar10"),
        ("folder:/home/ada/photos", "folder:photos"),
        ("folder:/home/ada/photos/", "folder:photos"),
        ("folder:../ada/photos", "folder:photos"),
        ("folder:photos", "folder:photos"),
        (r"folder:C:\Users\ada\photos", "folder:photos"),
        ("csv:/home/ada/labels.csv", "csv:labels.csv"),
        ("parquet:~/labels.parquet", "parquet:labels.parquet"),
        ("hf:zalando-datasets/fashion_mnist", "hf:zalando-datasets/fashion_mnist"),
        ("hf:/home/ada/saved", "hf:saved"),
        (None, None),
    ],
)
def test_folders_that_lead_to_the_data_are_left_out(name, shown):
    assert public_name(name) == shown


def test_folder_given_as_here_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    assert public_name("folder:.") == "folder:photos"
