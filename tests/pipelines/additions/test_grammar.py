import pytest

from pipelines.augmentation import AUGMENTATIONS, Augmentation, check_channels, check_task, find_augmentation
from pipelines.examples import DataError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cifar+mixup:0.4", Augmentation(padding=4, flip=True, mixup=0.4)),
        ("mixup", Augmentation(flip=True, mixup=0.2)),  # auto is the base, here the data set's "flip"
        ("none+cutmix+mixup", Augmentation(mixup=0.2, cutmix=1.0)),
        ("randaugment:3:5+none", Augmentation(randaugment=(3, 5.0))),
        ("none+randaugment", Augmentation(randaugment=(2, 9.0))),
        ("none+autoaugment:imagenet", Augmentation(autoaugment="imagenet")),
        ("none+autoaugment", Augmentation(autoaugment="cifar10")),
        ("imagenet+autoaugment", Augmentation(resized_crop=True, flip=True, autoaugment="imagenet")),
        ("none+erasing:0.5", Augmentation(erasing=0.5)),
        ("none+jitter:0.3", Augmentation(jitter=(0.3, 0.3, 0.3, 0.0))),
        ("none+jitter:0.1:0.2:0.3:0.5", Augmentation(jitter=(0.1, 0.2, 0.3, 0.5))),
        ("none+vflip+grey+blur:0.1", Augmentation(vflip=0.5, grey=0.2, blur=0.1)),
        ("flip", AUGMENTATIONS["flip"]),
    ],
)
def test_a_text_is_a_base_and_what_is_added(text, expected):
    assert find_augmentation(text, "flip") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "must be a text"),
        ("mixpu", "'mixpu' is none of them. Did you mean 'mixup'"),
        ("cifar+", "'' is none of them"),
        ("cifar+flip", "cifar and flip: leave one out"),
        ("mixup+mixup:1", "names mixup twice"),
        ("randaugment+autoaugment", "the same operations"),
        ("flip:3", "flip takes no values"),
        ("erasing:0.1:3", "erasing takes erasing:probability at most"),
        ("mixup:0", "above 0 and at most 100. Received '0'"),
        ("mixup:nan", "Received 'nan'"),
        ("randaugment:2.5", "a whole number, 1 to 10. Received '2.5'"),
        ("randaugment:2:31", "0 to 30"),
        ("autoaugment:svhn", "cifar10 or imagenet. Received 'svhn'"),
        ("jitter:0.1:0.1:0.1:0.6", "hue of jitter must be 0 to 0.5"),
        ("vflip:0", "probability of vflip must be above 0 and at most 1. Received '0'"),
        ("gray", "Did you mean 'grey'"),
    ],
)
def test_what_is_no_augmentation_is_refused_by_name(text, words):
    with pytest.raises(DataError) as refused:
        find_augmentation(text, "none")
    assert words in str(refused.value) and repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "channels", "way_out"),
    [
        ("none+jitter", 1, "give jitter:0.4:0.4:0:0"),
        ("none+jitter:0.2:0.1:0:0.1", 1, "give jitter:0.2:0.1:0:0"),
        ("none+autoaugment", 1, "give randaugment"),
        ("none+grey", 1, "leave grey out"),
        ("none+randaugment", 4, "of 4 channels"),
        ("none+vflip", 4, "of 4 channels"),
    ],
)
def test_what_is_of_colours_is_refused_for_images_without(text, channels, way_out):
    with pytest.raises(DataError) as refused:
        check_channels(text, find_augmentation(text, "none"), channels)
    assert way_out in str(refused.value) and text in str(refused.value)


def test_the_way_out_and_what_needs_no_colours_are_taken():
    for text in ("none+jitter:0.4:0.4:0:0", "none+randaugment", "cifar+mixup+cutmix+erasing"):
        check_channels(text, find_augmentation(text, "none"), 1)
    check_channels("none+mixup", find_augmentation("none+mixup", "none"), 4)


def test_cutmix_is_refused_for_numbers_which_have_no_parts():
    with pytest.raises(DataError, match=r"cutmix.*give mixup"):
        check_task("none+cutmix", find_augmentation("none+cutmix", "none"), "values")
    check_task("none+cutmix", find_augmentation("none+cutmix", "none"), "labels")
