"""`dirac-keras explain`: a folder of pictures, numbers and a page, or one line that says why not."""

import json

import numpy as np
import pytest
from PIL import Image

from dirac_keras.files.keras_file import save_model
from tests.cli.entry import status_of
from tests.explanation.networks import convolutional, linear
from tests.pages.browser import look

EVIL = "<img src=x onerror=alert(1)>"
NAMES = [EVIL, "$\\frac{", "\u65e5\u672c", "dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network that knows its data, one of dense layers alone, two images and a broken one."""
    folder = tmp_path_factory.mktemp("explain")
    data = {"name": "x", "image_shape": [8, 8, 3], "num_classes": 4, "class_names": NAMES, "resize": None}
    data |= {"mean": [120.0] * 3, "std": [60.0] * 3}
    save_model(convolutional(name="small"), folder / "net.keras", {"data": data})
    save_model(linear(8, 3, 4), folder / "dense.keras", {"data": data})
    random = np.random.default_rng(0)
    for name in ("one.png", f"{EVIL.replace('/', '')}.png"):
        Image.fromarray(random.integers(0, 256, (12, 12, 3), "uint8")).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def command(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def call(*arguments):
        status = status_of(["explain", *arguments], monkeypatch)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def whole(folder):
    """What one call with everything wrote: its folder, status, record."""
    from _pytest.monkeypatch import MonkeyPatch

    arguments = ["explain", "net.keras", "one.png", "broken.png", f"{EVIL}.png", "--target", EVIL]
    arguments += ["--method", "gradcam", "--method", "integrated_gradients", "--method", "occlusion", "--steps", "4"]
    with MonkeyPatch.context() as patch:
        patch.chdir(folder)
        status = status_of([*arguments, "--output", "all"], patch)
    return folder / "all", status, json.loads((folder / "all" / "explanations.json").read_text())


def test_one_call_writes_pictures_numbers_and_a_page_and_names_what_is_broken(whole):
    path, status, record = whole
    assert status == 1  # as predict: one image could not be read
    assert [one["image"] for one in record["skipped"]] == ["broken.png"] and "broken.png" in record["skipped"][0][
        "error"
    ]
    names = {one.name for one in path.iterdir()} - {".dirac-keras-files"}
    pictures = [item["picture"] for item in record["images"]]
    assert pictures == ["1-one.png", "2-_img_src_x_onerror_alert_1_.png"]
    fields = {"receptive-fields.png", "receptive-fields-by-depth.png"}
    assert names == {*pictures, *fields, "index.html", "explanations.json"}
    for name in (*pictures, *fields):
        with Image.open(path / name) as picture:
            assert picture.size[0] > 300
    assert [one["sides"] for one in record["receptive_fields"]] == [[3, 3], [8, 8]]


def test_the_numbers_are_those_of_the_library(whole, folder):
    import dirac_keras

    _, _, record = whole
    found = record["images"][0]["explanations"]
    assert [one["method"] for one in found] == ["gradcam", "integrated_gradients", "occlusion"]
    model, _ = dirac_keras.load_model(folder / "net.keras")
    from dirac_keras.deployment.evaluation import read_image
    from dirac_keras.deployment.image_spec import ImageSpec

    spec = ImageSpec((8, 8, 3), tuple(NAMES), (120.0,) * 3, (60.0,) * 3, None, exif_orientation=False)
    fed = np.asarray(spec.normalize(np.asarray(read_image(folder / "one.png", spec))[None]))
    own = dirac_keras.explain(model, fed, target=0)
    np.testing.assert_allclose(found[0]["map"], own.coarse[0], atol=1e-5)
    black = dirac_keras.explain(model, fed, "integrated_gradients", 0, baseline=-2.0, steps=4)
    assert found[1]["gap"] == pytest.approx(black.gaps[0], abs=1e-5)
    assert found[1]["settings"]["baseline"] == [-2.0] * 3 and found[2]["settings"]["baseline"] == [0.0] * 3
    shares = np.exp(model.predict(fed, verbose=0)[0])
    assert found[0]["probability"] == pytest.approx(shares[0] / shares.sum(), rel=1e-4)


@pytest.mark.parametrize("width", [400, 1600])
def test_the_page_shows_names_as_text(whole, width):
    seen = look(whole[0] / "index.html", width)
    assert not seen.faults
    assert seen.text.count(EVIL) >= 4 and f"{EVIL}.png" in seen.text and "broken.png" in seen.text


@pytest.mark.slow
def test_an_output_is_replaced_only_where_explain_wrote_it(command, folder):
    few = ("dense.keras", "one.png", "--method", "occlusion", "--window", "8", "--no-receptive-field", "--output")
    (folder / "empty").mkdir()
    assert command(*few, "empty")[0] == 0  # an empty folder is none
    status, _, err = command(*few, "empty")
    assert status == 1 and "--overwrite" in err
    assert command(*few, "empty", "--overwrite")[0] == 0
    (folder / "empty" / "mine.txt").touch()
    status, _, err = command(*few, "empty", "--overwrite")
    assert status == 1 and "mine.txt" in err and (folder / "empty" / "mine.txt").exists()
    (folder / "other").mkdir()
    (folder / "other" / "mine.txt").touch()
    status, _, err = command(*few, "other", "--overwrite")
    assert status == 1 and "was not written by explain" in err


@pytest.mark.slow
def test_json_alone_is_on_standard_output(command):
    few = ("dense.keras", "one.png", "--method", "occlusion", "--window", "8", "--no-receptive-field", "--json")
    status, out, _ = command("--output", "told", *few)
    assert status == 0 and json.loads(out)["images"][0]["explanations"][0]["class"] in NAMES


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["dense.keras", "one.png"], "no layer that can be read has positions. Give --method integrated_gradients"),
        (["net.keras", "one.png", "--target", "bird"], "target='bird'"),
        (["net.keras", "one.png", "--layer", "third"], "layer='third'"),
        (["net.keras", "one.png", "--steps", "9"], "steps is for integrated_gradients, which is not among the methods"),
        (["net.keras", "broken.png"], "none of the images could be read"),
        (["net.keras", "absent.png", "surplus.png"], "none of the images could be read"),
        (["net.keras", "one.png", "--method", "occlusion", "--window", "9"], "window must fit into the images, 8x8"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(arguments, message, command, folder):
    status, _, err = command(*arguments, "--output", "none")
    assert status == 1 and message in err.replace("\n", " ") and not (folder / "none").exists()
    assert err.count("Error:") == 1, "each image that is passed over is told, and is no error of its own"
