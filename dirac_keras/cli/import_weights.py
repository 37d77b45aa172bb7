"""`dirac-keras import`: weights of another library as a `.keras` file."""

import pathlib

import rich_click as click

from dirac_keras.cli.options import CONTEXT
from dirac_keras.cli.reading import image_file_options
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import say
from dirac_keras.errors import UserError, renaming
from dirac_keras.files.atomic import refuse_existing
from dirac_keras.files.keras_file import save_model


@click.command(name="import", context_settings=CONTEXT)
@click.argument("file")
@click.option("--as", "architecture", required=True, metavar="NETWORK",
              help="The network: diracnet18, diracnet34, resnet18 to 152, resnext50_32x4d, wide_resnet50_2, vgg11 "
              "to 19 and vgg11_bn to 19_bn, repvgg_a0 to b3g4, efficientnet_lite0 to 4, diracnet_DEPTH_WIDTH_cifar, "
              "wide_resnet_DEPTH_WIDTH_cifar. A wrong name lists them all.")  # fmt: skip
@click.option("--output", type=click.Path(), required=True, help="File to write, ending in .keras.")
@click.option("--sha256", metavar="DIGITS", help="What the checksum of FILE must begin with. Default: what its name "
              "ends with, as in resnet18-f37072fd.pth; else it is not checked.")  # fmt: skip
@image_file_options
@click.option("--include-top/--no-include-top", default=True, help="With the layer of the classes, or without it: the "
              "network then gives what that layer was given. Default: with it.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@json_option("Print what was imported as JSON.")
def import_command(file, architecture, output, sha256, labels, image_size, max_pixels, include_top, overwrite, as_json):
    """Read weights of other libraries into a Keras network: PyTorch's files, safetensors, Keras 2.

    FILE is a `.pth` or `.pt` file of any version of PyTorch, which is not needed; a `.safetensors` file; a weights file
    `.h5` of Keras 2; or `hf://OWNER/REPOSITORY/FILE`. Nothing that it holds is run.

    `dirac-keras import diracnet18v2folded-a2174e15.pth --as diracnet18 --output diracnet18.keras`
    """
    from dirac_keras.weights import import_weights

    output = pathlib.Path(output)
    if output.suffix != ".keras":
        raise UserError(f"`output` must end in .keras. Received {output}.")
    with renaming(path="output"):
        refuse_existing(output, overwrite)
    shape = None if image_size is None else (*image_size, 3)
    with renaming(class_names="`labels`", input_shape="`image_size`"):
        imported = import_weights(
            file, architecture, input_shape=shape, class_names=labels, sha256=sha256, include_top=include_top
        )
    if max_pixels:
        imported.metadata["data"]["max_pixels"] = max_pixels
    with renaming(path="output"):
        save_model(imported.model, output, imported.metadata, overwrite=overwrite)
    emit(as_json, {**imported.metadata, "tensors": imported.tensors, "output": str(output)})
    if not is_quiet(as_json):
        say(str(imported))
        say(f"written: {output}")
