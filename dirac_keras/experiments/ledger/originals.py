"""Which images a run was tested on: those that their authors distribute, or copies that differ in some pixel."""

# Data set -> digest of its test images as `training.origin.digest_of_images` makes it, of the authors' own files.
ORIGINALS = {
    "cifar10": "29f92753420b54673d1170f70671bd87",
    "cifar100": "8e49fe072c64258d802f44afae33c36d",
    "fashion_mnist": "05c8952917db904399208630a57ebbd7",
    "mnist": "32aa50e2f52cc61acf1ce3e0b18a1e21",
    "usps": "3b5724c1bc32d3e38a001f287d64823b",
}


def describe_data(ended):
    """Name, kind and number of training images of a run, from its record.

    Args:
        ended: `Ended`.
    """
    spec, digest = ended.record.data_spec, ended.record.test_images
    name = spec.get("name", ended.config.data)
    count = f"{spec['num_train']:,} images" if "num_train" in spec else "number not recorded"
    if digest is None or ended.config.max_test is not None or name not in ORIGINALS:
        kind = ""
    elif digest == ORIGINALS[name]:
        kind = ", the authors' pixels"
    else:
        kind = ", other pixels than the authors'"
    return f"{name}{kind}, {count}"
