"""A folder of odd images: the same pixels, or the same refusal, wherever an image file is read."""

import logging

import keras
import numpy as np
import pytest

import dirac_keras
from dirac_keras.deployment.evaluation import rank_files, read_image
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.errors import UserError
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.fields.data import MAX_PIXELS

tf = pytest.importorskip("tensorflow")
pipelines = pytest.importorskip("pipelines")

from pipelines.decoding.rule import DEFAULT_MAX_PIXELS  # noqa: E402 - behind what may be absent
from tests.pipelines import odd_images as odd  # noqa: E402

SIDE = 24
VALUES = SIDE * SIDE * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All odd images as one class, by number, and what is good among them; a plain one to test on."""
    root = tmp_path_factory.mktemp("odd")
    files = {}
    (root / "train" / "a").mkdir(parents=True)
    for number, (case, data) in enumerate((*odd.GOOD.items(), *((k, data) for k, (data, _) in odd.REFUSED.items()))):
        files[case] = root / "train" / "a" / f"{number:03}.{'jpg' if case.startswith('JPEG') else 'png'}"
        files[case].write_bytes(data)
    (root / "test" / "a").mkdir(parents=True)
    (root / "test" / "a" / "0.png").write_bytes(odd.PNG)
    return root, files


@pytest.fixture(scope="module")
def model():
    """The values of its input, as logits."""
    inputs = keras.Input((SIDE, SIDE, 3))
    outputs = keras.layers.Dense(VALUES, kernel_initializer="identity")(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, outputs)


def described(**other):
    return {"image_shape": [SIDE, SIDE, 3], "num_classes": VALUES, "mean": [0.0] * 3, "std": [1.0] * 3, "resize": 27,
            "exif_orientation": True, **other}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_odd_images_give_the_same_pixels_or_refusal_in_all_paths(folder, model, tmp_path, caplog):
    root, files = folder
    spec = ImageSpec.from_metadata({"data": described()}, model)

    # `predict`
    views, refused = {}, {}
    for case, path in files.items():
        try:
            views[case] = read_image(path, spec).numpy()
        except UserError as error:
            refused[case] = str(error)
    assert list(views) == list(odd.GOOD) and list(refused) == list(odd.REFUSED)
    for case, message in refused.items():
        assert message.startswith(f"image {files[case]} is ") and odd.REFUSED[case][1] in message
    for case in odd.GOOD:  # what evaluation sees of the picture that Pillow shows
        np.testing.assert_array_equal(views[case], spec.view(odd.shown(odd.GOOD[case])), case)
    expected = np.stack([*views.values()])

    # training, in memory and from files
    options = {"image_size": SIDE, "batch_size": 5, "eval_batch_size": 16, "on_broken": "skip"}
    with caplog.at_level(logging.WARNING, "pipelines"):
        stored = pipelines.load_splits(f"folder:{root}", augmentation="none", **options)
        streamed = pipelines.load_splits(f"folder:{root}", augmentation="imagenet", **options)
    assert caplog.text.count(f"Skipped {len(odd.REFUSED)} of {len(files)} image files") == 2
    np.testing.assert_array_equal(tf.gather(stored.train_examples.images, stored.train_examples.rows), expected)
    assert streamed.train_examples.images is None
    mean, std = np.array(streamed.spec.mean), np.array(streamed.spec.std)
    images = np.concatenate([images for images, _ in streamed.train_in_order().as_numpy_iterator()])
    np.testing.assert_allclose(images * std + mean, expected, atol=1e-3)  # grey levels: float32 there and back
    assert sum(len(labels) for _, labels in streamed.train().take(len(expected) // 5)) == len(expected) // 5 * 5

    # serving
    dirac_keras.export(model, tmp_path / "served", metadata={"data": described()}, verify=False)
    serve = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_bytes"]
    logits = serve(image_bytes=tf.constant([*odd.GOOD.values()]))["logits"]
    np.testing.assert_array_equal(np.reshape(logits, expected.shape), expected)
    for case, (data, reason) in odd.REFUSED.items():
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            serve(image_bytes=tf.constant([data]))
        assert reason == odd.DAMAGED or f"the image is {refused[case].split(' is ', 1)[1][:-1]}" in str(caught.value)


def test_model_trained_before_orientation_was_read_does_not_turn(model, tmp_path):
    """Its metadata has no such field."""
    (tmp_path / "turned.jpg").write_bytes(odd.GOOD["JPEG orientation 6"])
    data = described()
    del data["exif_orientation"]
    for fields, turned in ((data, False), (described(exif_orientation=False), False), (described(), True)):
        spec = ImageSpec.from_metadata({"data": fields}, model)
        expected = spec.view(odd.shown(odd.GOOD["JPEG orientation 6"], turned=turned))
        np.testing.assert_array_equal(read_image(tmp_path / "turned.jpg", spec), expected)


@pytest.mark.slow
def test_limit_of_the_metadata_and_of_the_call_counts(model, tmp_path):
    (tmp_path / "a.png").write_bytes(odd.PNG)
    paths = [tmp_path / "a.png"]
    with pytest.raises(UserError, match=r"a\.png is too large: 53 x 37 pixels, more than 1,000 \(`max_pixels`\)\."):
        list(rank_files(model, described(max_pixels=1000), paths))
    assert len(list(rank_files(model, described(max_pixels=1000), paths, max_pixels=53 * 37))) == 1
    with pytest.raises(UserError, match=r"max_pixels a whole number above 0\. Received .* max_pixels=0"):
        list(rank_files(model, described(max_pixels=0), paths))


@pytest.mark.slow
def test_bad_file_is_passed_over_on_request(model, tmp_path):
    (tmp_path / "a.png").write_bytes(odd.PNG)
    (tmp_path / "b.png").write_bytes(b"Dear Sir")
    paths, broken = [tmp_path / name for name in ("b.png", "absent.png", "a.png")], []
    ranked = rank_files(model, described(), paths, on_broken=lambda path, error: broken.append((path, str(error))))
    assert [path for path, _ in ranked] == [str(paths[2])]
    assert [path for path, _ in broken] == [str(paths[0]), str(paths[1])]
    assert "b.png is no JPEG" in broken[0][1] and "absent.png cannot be read: No such file" in broken[1][1]


def test_options_reach_the_metadata():
    config = TrainConfig(exif_orientation=False, max_pixels=1000)
    spec = pipelines.load_splits(**config.data_arguments()).spec
    assert (spec.exif_orientation, spec.max_pixels) == (False, 1000)
    assert MAX_PIXELS == DEFAULT_MAX_PIXELS and TrainConfig().exif_orientation
    old = {k: v for k, v in spec.to_dict().items() if k not in ("exif_orientation", "max_pixels")}
    assert not pipelines.DataSpec.from_dict(old).exif_orientation
