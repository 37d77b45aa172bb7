"""Image files that a command is given: those that cannot be opened are told before a model is read."""

from dirac_keras.errors import RunError
from dirac_keras.files.places import unreadable_files


def readable_images(images, pass_over):
    """The image files that can be opened, in their order.

    Args:
        images: paths as the command was given them.
        pass_over: called as `pass_over(path, message)` for each of the others, all of them before anything else.

    Raises: RunError: if none can be opened.
    """
    broken = unreadable_files(map(str, images))
    for path, reason in broken.items():
        pass_over(path, f"image {path} cannot be read: {reason}.")
    if len(broken) == len({*map(str, images)}):
        raise RunError("none of the images could be read, see above: nothing was done.")
    return [path for path in map(str, images) if path not in broken]
