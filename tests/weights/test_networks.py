"""Imported networks give what PyTorch's formulas give, for every layout: computed beside Keras, in NumPy."""

import collections

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras import assert_plain, fold
from dirac_keras.errors import UserError
from dirac_keras.weights.catalogue import NETWORKS, choose_layout
from dirac_keras.weights.layout import fill, weights_wanted
from dirac_keras.weights.layouts import diracnet, efficientnet_lite, repvgg, resnet, vgg, wide_resnet
from tests.marks import slow_but
from tests.weights import numpy_layers as torch
from tests.weights.states import State, images

CLASSES = 5


def network(layouts, state, side):
    """The imported network and the layout it was read in."""
    layout, tensors = choose_layout(layouts, state)
    model = layout.build(num_classes=CLASSES, input_shape=(side, side, 3))
    fill(model, tensors, layout, "file.pth", "tiny")
    return model, layout


def check_outputs(model, pixels, expected):
    outputs = ops.convert_to_numpy(model(pixels.transpose(0, 2, 3, 1)))
    assert expected.shape == outputs.shape == (2, CLASSES)
    # float32 against float64; a wrong axis, padding or epsilon is off by percents.
    assert np.abs(outputs - expected).max() <= 2e-5 * np.abs(expected).max()


def dirac_kernel(state, base):
    """`diag(a) I + diag(b) W_norm`, as `block` of the authors' code has it: `F.normalize` over each filter."""
    kernel = state[f"{base}.conv"].astype("float64")
    filters, inputs, height, width = kernel.shape
    norms = np.sqrt((kernel**2).sum((1, 2, 3), keepdims=True))
    identity = np.zeros_like(kernel)
    for channel in range(min(filters, inputs)):
        identity[channel, channel, height // 2, width // 2] = 1
    alpha, beta = (state[f"{base}.{name}"].reshape(-1, 1, 1, 1) for name in ("alpha", "beta"))
    return beta * kernel / np.maximum(norms, 1e-12) + alpha * identity


def dirac_groups(x, state, counts):
    for group, count in enumerate(counts):
        x = torch.max_pool(x, 2, 2) if group else x
        for block in range(count):
            base = f"group{group}.block{block}"
            x = torch.norm(torch.conv(torch.relu(x), dirac_kernel(state, base), padding=1), state, f"{base}.bn")
    return torch.linear(torch.mean(torch.relu(x)), state, "fc")


def dirac_state(counts, channels, stem_size):
    state = State().kernel("conv", channels[0], 3, stem_size, stem_size).norm("bn", channels[0])
    inputs = channels[0]
    for group, (count, filters) in enumerate(zip(counts, channels, strict=True)):
        for block in range(count):
            base = f"group{group}.block{block}"
            state.kernel(f"{base}.conv", filters, inputs, 3, 3).norm(f"{base}.bn", filters)
            state.vector(f"{base}.alpha", filters, 0.2, 1).vector(f"{base}.beta", filters, 0.1, 0.9)
            inputs = filters
    return state.linear("fc", CLASSES, inputs)


@pytest.fixture(scope="module")
def cifar_state():
    return dirac_state((2, 2, 2), (16, 32, 64), 3)


def test_unfolded_diracnet_for_cifar(cifar_state):
    model, layout = network(diracnet.cifar_layouts(10, 1), cifar_state, 8)
    assert layout.source == "the authors, not folded"
    pixels = images(8)
    x = torch.relu(torch.norm(torch.conv(pixels, cifar_state["conv"], padding=1), cifar_state, "bn"))
    check_outputs(model, pixels, dirac_groups(x, cifar_state, (2, 2, 2)))
    assert_plain(fold(model)[0])


def test_one_scale_for_all_filters_is_every_filter_s(cifar_state):
    state = dict(cifar_state)
    state["group0.block0.alpha"] = np.array([0.5], "float32")
    model, _ = network(diracnet.cifar_layouts(10, 1), state, 8)
    scale = ops.convert_to_numpy(model.get_layer("group1_block1_conv").identity_scale)
    np.testing.assert_array_equal(scale, np.full(16, 0.5))


def test_filters_shorter_than_pytorch_divides_by_keep_their_outputs(cifar_state):
    state = dict(cifar_state)
    kernel = state["group1.block1.conv"].copy()
    kernel[3] *= 2e-13 / np.sqrt((kernel[3].astype("float64") ** 2).sum())  # a norm of 2e-13: W / 1e-12 is a fifth
    state["group1.block1.conv"] = kernel
    model, _ = network(diracnet.cifar_layouts(10, 1), state, 8)
    layer = model.get_layer("group2_block2_conv")
    own = ops.convert_to_numpy(layer.effective_kernel()).transpose(3, 2, 0, 1)
    np.testing.assert_allclose(own, dirac_kernel(state, "group1.block1"), rtol=1e-5, atol=1e-7)


def test_identities_beside_the_weights_are_checked_and_not_used(cifar_state):
    state = dict(cifar_state)
    state["eye16_16_3_3"] = np.zeros((16, 16, 3, 3), "float32")
    state["eye16_16_3_3"][range(16), range(16), 1, 1] = 1
    network(diracnet.cifar_layouts(10, 1), state, 8)
    state["eye16_16_3_3"][0, 0] = 1  # every tap
    with pytest.raises(UserError, match="eye16_16_3_3 is no identity"):
        network(diracnet.cifar_layouts(10, 1), state, 8)


@pytest.mark.slow
def test_unfolded_diracnet_for_imagenet():
    state, counts = dirac_state((4, 4, 4, 4), (64, 128, 256, 512), 7), (4, 4, 4, 4)
    model, layout = network(diracnet.imagenet_layouts(18), state, 32)
    assert layout.source == "the authors, not folded"
    pixels = images(32)
    x = torch.norm(torch.conv(pixels, state["conv"], stride=2, padding=3), state, "bn")
    check_outputs(model, pixels, dirac_groups(torch.max_pool(x, 3, 2, 1), state, counts))


FOLDED_NAMES = {
    "the authors, folded": ("features.conv", "features.group{}.block{}.conv", 0, "fc"),
    "pytorchcv": ("features.init_block.conv", "features.stage{}.unit{}.conv", 1, "output"),
}


@pytest.mark.parametrize("source", FOLDED_NAMES)
def test_folded_diracnet(source):
    stem, block_name, first, head = FOLDED_NAMES[source]
    state, inputs = State().conv(stem, 4, 3, 7, bias=True), 4
    for group, filters in enumerate((4, 8, 16, 32)):
        for block in range(4):
            state.conv(block_name.format(group + first, block + first), filters, inputs, 3, bias=True)
            inputs = filters
    state.linear(head, CLASSES, inputs)
    model, layout = network(diracnet.imagenet_layouts(18, channels=4), state, 40)
    assert layout.source == source
    pixels = images(40)
    x = torch.conv(pixels, state[f"{stem}.weight"], state[f"{stem}.bias"], 2, 3)
    x = torch.max_pool(x, 3, 2, 1)
    for group in range(4):
        x = torch.max_pool(x, 2, 2) if group else x
        for block in range(4):
            name = block_name.format(group + first, block + first)
            x = torch.conv(torch.relu(x), state[f"{name}.weight"], state[f"{name}.bias"], padding=1)
    check_outputs(model, pixels, torch.linear(torch.mean(torch.relu(x)), state, head))


def test_folded_diracnet_of_keras_2_has_the_weights_of_pytorchcv_s():
    names, inputs = {"features/init_block/conv/conv": (7, 7, 3, 4)}, 4
    for group, filters in enumerate((4, 8, 16, 32), start=1):
        for unit in range(1, 5):
            names[f"features/stage{group}/unit{unit}/conv/conv"] = (3, 3, inputs, filters)
            inputs = filters
    state = State()
    for name, shape in names.items():  # with group and model before, as `save_weights` of Keras 2 writes them
        state.kernel(f"features/diracnet_v2/{name}/kernel", *shape)
        state.vector(f"features/diracnet_v2/{name}/bias", shape[-1])
    state.kernel("output1/diracnet_v2/output1/kernel", 32, CLASSES).vector("output1/diracnet_v2/output1/bias", CLASSES)
    model, layout = network(diracnet.imagenet_layouts(18, channels=4), state, 32)
    assert layout.source == "tf2cv"
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model.get_layer("group3_block2_conv").kernel),
        state["features/diracnet_v2/features/stage3/unit2/conv/conv/kernel"],
    )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model.get_layer("head_dense").bias), state["output1/diracnet_v2/output1/bias"]
    )


@pytest.mark.parametrize("kind", slow_but(["basic", "bottleneck", "groups"], "basic", "groups"))
def test_resnet_of_torchvision(kind):
    bottleneck, groups, per_group = {"basic": (False, 1, 64), "bottleneck": (True, 1, 128), "groups": (True, 2, 32)}[
        kind
    ]
    counts = (2, 1, 1, 1)
    state, inputs, blocks = State().conv("conv1", 4, 3, 7).norm("bn1", 4), 4, []
    for group, count in enumerate(counts, start=1):
        planes = 4 * 2 ** (group - 1)
        inner, filters = int(planes * per_group / 64) * groups, planes * (4 if bottleneck else 1)
        shapes = [(inner, inputs, 1), (inner, inner // groups, 3), (filters, inner, 1)] if bottleneck else None
        shapes = shapes or [(filters, inputs, 3), (filters, filters, 3)]
        for block in range(count):
            base, stride = f"layer{group}.{block}", 2 if group > 1 and block == 0 else 1
            own = shapes if block == 0 else [(shapes[0][0], filters, shapes[0][2]), *shapes[1:]]
            for number, (out, into, size) in enumerate(own, start=1):
                state.conv(f"{base}.conv{number}", out, into, size).norm(f"{base}.bn{number}", out)
            if stride != 1 or inputs != filters:
                state.conv(f"{base}.downsample.0", filters, inputs, 1).norm(f"{base}.downsample.1", filters)
            blocks.append((base, stride))
            inputs = filters
    state.linear("fc", CLASSES, inputs)
    model, _ = network(resnet.layouts(counts, bottleneck, groups, per_group, channels=4), state, 33)

    pixels = images(33)  # odd sides: where padding is even or not shows
    x = torch.relu(torch.norm(torch.conv(pixels, state["conv1.weight"], stride=2, padding=3), state, "bn1"))
    x = torch.max_pool(x, 3, 2, 1)
    for base, stride in blocks:
        skip, y = x, x
        last = 3 if bottleneck else 2
        for number in range(1, last + 1):
            kernel = state[f"{base}.conv{number}.weight"]
            is_wide = kernel.shape[-1] == 3
            steps = stride if number == (2 if bottleneck else 1) else 1
            y = torch.conv(
                y, kernel, stride=steps, padding=int(is_wide), groups=groups if is_wide and bottleneck else 1
            )
            y = torch.norm(y, state, f"{base}.bn{number}")
            y = torch.relu(y) if number < last else y
        if f"{base}.downsample.0.weight" in state:
            skip = torch.conv(x, state[f"{base}.downsample.0.weight"], stride=stride)
            skip = torch.norm(skip, state, f"{base}.downsample.1")
        x = torch.relu(y + skip)
    check_outputs(model, pixels, torch.linear(torch.mean(x), state, "fc"))


@pytest.mark.parametrize("source", ["torchvision", "timm"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg(source, batch_norm):
    channels, units, window, side = (2, 3, 4, 4, 6), 5, 2, 70  # 70 halves to 2 with a pixel left out on the way
    order = ["conv2", "M", "conv3", "M", "conv4", "conv4", "M", "conv4", "conv4", "M", "conv6", "conv6", "M"]
    state, inputs, index, steps = State(), 3, 0, []
    for step in order:
        steps.append((step, index))
        if step == "M":
            index += 1
            continue
        filters = int(step[4:])
        state.conv(f"features.{index}", filters, inputs, 3, bias=True)
        if batch_norm:
            state.norm(f"features.{index + 1}", filters)
        inputs, index = filters, index + (3 if batch_norm else 2)
    if source == "timm":
        state.conv("pre_logits.fc1", units, inputs, window, bias=True).conv(
            "pre_logits.fc2", units, units, 1, bias=True
        )
        state.linear("head.fc", CLASSES, units)
    else:
        state.linear("classifier.0", units, inputs * window * window).linear("classifier.3", units, units)
        state.linear("classifier.6", CLASSES, units)
    layouts = vgg.layouts(11, batch_norm, channels=channels, units=units, window=window)
    model, layout = network(layouts, state, side)
    assert layout.source == source

    pixels = x = images(side)
    for step, index in steps:
        if step == "M":
            x = torch.max_pool(x, 2, 2)
            continue
        x = torch.conv(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1)
        x = torch.relu(torch.norm(x, state, f"features.{index + 1}") if batch_norm else x)
    if source == "timm":
        for name in ("pre_logits.fc1", "pre_logits.fc2"):
            x = torch.relu(torch.conv(x, state[f"{name}.weight"], state[f"{name}.bias"]))
        expected = torch.linear(torch.mean(x), state, "head.fc")
    else:
        x = x.reshape(2, -1)  # channels first
        for name in ("classifier.0", "classifier.3"):
            x = torch.relu(torch.linear(x, state, name))
        expected = torch.linear(x, state, "classifier.6")
    check_outputs(model, pixels, expected)


REPVGG_NAMES = {  # stem, block, branches of a block: 3x3, 1x1, identity; merged; head
    "timm": ("stem", "stages.{}.{}", 0, "conv_kxk", "conv_1x1", "identity", "reparam_conv", "head.fc"),
    "the authors": ("stage0", "stage{}.{}", 1, "rbr_dense", "rbr_1x1", "rbr_identity", "rbr_reparam", "linear"),
}


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("source", REPVGG_NAMES)
def test_repvgg(source, merged):
    stem, block_name, first, wide, small, identity, one, head = REPVGG_NAMES[source]
    counts, channels, groups = (1, 2, 1, 1), (4, 8, 16, 32), 2
    places, inputs = [(stem, 4, 3, 2, 1)], 4
    for group, (count, filters) in enumerate(zip(counts, channels, strict=True)):
        for block in range(count):
            own = groups if block % 2 else 1
            places.append((block_name.format(group + first, block), filters, inputs, 2 if block == 0 else 1, own))
            inputs = filters
    state = State()
    for base, filters, into, stride, own in places:
        if merged:
            state.conv(f"{base}.{one}", filters, into // own, 3, bias=True)
            continue
        state.conv(f"{base}.{wide}.conv", filters, into // own, 3).norm(f"{base}.{wide}.bn", filters)
        state.conv(f"{base}.{small}.conv", filters, into // own, 1).norm(f"{base}.{small}.bn", filters)
        if stride == 1:
            state.norm(f"{base}.{identity}", filters)
    state.linear(head, CLASSES, inputs)
    model, layout = network(repvgg.layouts(counts, (1, 1, 1, 1), 4, groups, channels=4), state, 33)
    assert layout.source == source + (", merged" if merged else "")

    pixels = x = images(33)
    for base, _, _, stride, own in places:
        if merged:
            y = torch.conv(x, state[f"{base}.{one}.weight"], state[f"{base}.{one}.bias"], stride, 1, own)
        else:
            y = torch.conv(x, state[f"{base}.{wide}.conv.weight"], stride=stride, padding=1, groups=own)
            y = torch.norm(y, state, f"{base}.{wide}.bn")
            other = torch.conv(x, state[f"{base}.{small}.conv.weight"], stride=stride, groups=own)
            y = y + torch.norm(other, state, f"{base}.{small}.bn")
            y = y + torch.norm(x, state, f"{base}.{identity}") if stride == 1 else y
        x = torch.relu(y)
    check_outputs(model, pixels, torch.linear(torch.mean(x), state, head))


WRN_NAMES = {  # stem, block, its first number, BatchNormalizations, convolutions, projection, last one, head
    "the authors": (
        "conv0",
        "group{}.block{}",
        0,
        ("bn0", "bn1"),
        ("conv0", "conv1"),
        "convdim",
        "bn",
        "fc",
    ),
    "pytorchcv": (
        "features.init_block.weight",
        "features.stage{}.unit{}",
        1,
        ("body.conv1.bn", "body.conv2.bn"),
        ("body.conv1.conv.weight", "body.conv2.conv.weight"),
        "identity_conv.weight",
        "features.post_activ.bn",
        "output",
    ),
}


@pytest.mark.parametrize("source", WRN_NAMES)
def test_wide_resnet_for_cifar(source):
    stem, block_name, first, norms, convs, projection, last, head = WRN_NAMES[source]
    state, inputs, blocks = State().kernel(stem, 16, 3, 3, 3), 16, []
    for group, filters in enumerate((32, 64, 128)):
        base = block_name.format(group + first, first)
        state.norm(f"{base}.{norms[0]}", inputs).norm(f"{base}.{norms[1]}", filters)
        state.kernel(f"{base}.{convs[0]}", filters, inputs, 3, 3).kernel(f"{base}.{convs[1]}", filters, filters, 3, 3)
        state.kernel(f"{base}.{projection}", filters, inputs, 1, 1)
        blocks.append((base, 2 if group else 1))
        inputs = filters
    state.norm(last, inputs).linear(head, CLASSES, inputs)
    model, layout = network(wide_resnet.layouts(10, 2), state, 8)
    assert layout.source == source
    pixels = images(8)
    x = torch.conv(pixels, state[stem], padding=1)
    for base, stride in blocks:
        active = torch.relu(torch.norm(x, state, f"{base}.{norms[0]}"))
        y = torch.conv(active, state[f"{base}.{convs[0]}"], stride=stride, padding=1)
        y = torch.relu(torch.norm(y, state, f"{base}.{norms[1]}"))
        y = torch.conv(y, state[f"{base}.{convs[1]}"], padding=1)
        x = y + torch.conv(active, state[f"{base}.{projection}"], stride=stride)
    check_outputs(model, pixels, torch.linear(torch.mean(torch.relu(torch.norm(x, state, last))), state, head))


def test_efficientnet_lite():
    blocks = ((1, 3, 1, 1, 8), (2, 5, 2, 2, 8), (1, 3, 1, 2, 16))
    state = State().conv("_conv_stem", 8, 3, 3).norm("_bn0", 8)
    # Kernel size, strides, channels inside and outside of each block, whether it is expanded.
    places = [(3, 1, 8, 8, False), (5, 2, 16, 8, True), (5, 1, 16, 8, True), (3, 1, 16, 16, True)]
    inputs = 8
    for number, (size, _, inside, filters, is_expanded) in enumerate(places):
        base = f"_blocks.{number}"
        if is_expanded:
            state.conv(f"{base}._expand_conv", inside, inputs, 1).norm(f"{base}._bn0", inside)
        state.conv(f"{base}._depthwise_conv", inside, 1, size).norm(f"{base}._bn1", inside)
        state.conv(f"{base}._project_conv", filters, inside, 1).norm(f"{base}._bn2", filters)
        inputs = filters
    state.conv("_conv_head", 12, inputs, 1).norm("_bn1", 12).linear("_fc", CLASSES, 12)
    model, _ = network(efficientnet_lite.layouts(0, blocks=blocks, stem=8, head=12), state, 18)

    def conv_norm(x, name, norm_name, size, stride, groups=1):
        y = torch.conv(torch.same(x, size, stride), state[f"{name}.weight"], stride=stride, groups=groups)
        return torch.norm(y, state, norm_name, epsilon=1e-3)

    pixels = images(18)
    x = torch.relu6(conv_norm(pixels, "_conv_stem", "_bn0", 3, 2))
    for number, (size, stride, inside, _, is_expanded) in enumerate(places):
        base, y = f"_blocks.{number}", x
        if is_expanded:
            y = torch.relu6(conv_norm(y, f"{base}._expand_conv", f"{base}._bn0", 1, 1))
        y = torch.relu6(conv_norm(y, f"{base}._depthwise_conv", f"{base}._bn1", size, stride, inside))
        y = conv_norm(y, f"{base}._project_conv", f"{base}._bn2", 1, 1)
        x = x + y if stride == 1 and x.shape == y.shape else y
    x = torch.relu6(conv_norm(x, "_conv_head", "_bn1", 1, 1))
    check_outputs(model, pixels, torch.linear(torch.mean(x), state, "_fc"))


FULL_SIZE = ("diracnet34", "resnet34", "resnext50_32x4d", "repvgg_b1g4", "efficientnet_lite4")


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_tables_name_every_weight_once(name):
    for layout in NETWORKS[name]():
        keras.utils.clear_session()
        model = layout.build(num_classes=10, input_shape=(*layout.preprocessing.sides, 3))
        names = [tensor for tensor, _, _ in weights_wanted(model, layout)]
        twice = [tensor for tensor, count in collections.Counter(names).items() if count > 1]
        assert not twice and {layout.marker, layout.classes} <= {*names}, (layout.source, twice)
