"""The networks that `benchmarks.backbones` folds: keras.applications, and keras-hub's image backbones, built small."""

import functools

import keras
import numpy as np

from dirac_keras.folding.inventory import layers_inside, normalizations_inside
from dirac_keras.graph.samples import random_inputs

# name -> arguments, for sizes that the network takes and a processor folds in seconds
APPLICATIONS = {
    "MobileNetV2": {"input_shape": (32, 32, 3), "alpha": 0.35},
    "MobileNet": {"input_shape": (64, 64, 3), "alpha": 0.5},
    "MobileNetV3Small": {"input_shape": (64, 64, 3)},
    "MobileNetV3Large": {"input_shape": (64, 64, 3)},
    "ResNet50": {"input_shape": (64, 64, 3)},
    "ResNet50V2": {"input_shape": (64, 64, 3)},
    "DenseNet121": {"input_shape": (64, 64, 3)},
    "InceptionV3": {"input_shape": (75, 75, 3)},
    "InceptionResNetV2": {"input_shape": (75, 75, 3)},
    "Xception": {"input_shape": (71, 71, 3)},
    "EfficientNetB0": {"input_shape": (64, 64, 3)},
    "EfficientNetV2B0": {"input_shape": (64, 64, 3)},
    "NASNetMobile": {"input_shape": (64, 64, 3)},
    "VGG16": {"input_shape": (64, 64, 3)},
    "ConvNeXtTiny": {"input_shape": (64, 64, 3)},
}
IMAGE = (64, 64, 3)


def application(name, **arguments):
    """A network of keras.applications without its softmax."""
    build = getattr(keras.applications, name)
    return build(weights=None, classes=10, classifier_activation=None, **{**APPLICATIONS[name], **arguments})


def networks():
    """The dict name -> function that builds it; keras-hub's are left out where it is not installed."""
    found = {name: functools.partial(application, name) for name in APPLICATIONS}
    try:
        import keras_hub
    except ImportError:
        return found
    return found | {f"keras-hub {name}": functools.partial(build, keras_hub.models) for name, build in _HUB.items()}


def randomize(model, image_shapes=None):
    """Moves every weight off its start, every BatchNormalization well off the identity.

    Statistics drawn blindly would let the activations of 50 layers overflow or vanish, so each layer's are measured on
    a batch, after gamma and beta are drawn, and then moved by random factors.

    Args:
        model: built model; it is changed.
        image_shapes: None, or list of shapes with the batch axis, where the model leaves sizes open.

    Returns: the model.
    """
    random = np.random.default_rng(0)
    inside = [layer for _, layer in normalizations_inside(model)]
    layers = [layer for layer in inside if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    of_normalizations = {id(variable) for layer in layers for variable in layer.variables}
    for _, layer in layers_inside(model):
        for variable in layer.trainable_variables if not isinstance(layer, keras.Model) else ():
            values = keras.ops.convert_to_numpy(variable)
            if id(variable) not in of_normalizations and values.size and np.all(values == values.flat[0]):
                variable.assign(values + 0.1 * random.normal(size=values.shape))
    for layer in layers:
        layer.momentum = 0.0
        signs = random.choice([-1.0, 1.0], layer.moving_mean.shape)
        if layer.scale:
            gamma = signs * random.uniform(0.5, 1.5, signs.shape)
            gamma[0] = 0.0
            layer.gamma.assign(gamma)
        if layer.center:
            layer.beta.assign(0.3 * random.normal(size=signs.shape))
    shapes = image_shapes or [(8, *(length or 64 for length in tensor.shape[1:])) for tensor in model.inputs]
    model(random_inputs(model, shapes, seed=1), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        variance = keras.ops.convert_to_numpy(layer.moving_variance)
        layer.moving_mean.assign_add(0.3 * np.sqrt(variance) * random.normal(size=variance.shape))
        # A channel that hardly varied in these few images would be blown up on others.
        layer.moving_variance.assign(variance * random.uniform(0.5, 2.0, variance.shape) + 0.1 * variance.mean())
    return model


def _resnet(hub, **arguments):
    return hub.ResNetBackbone(
        **{
            "input_conv_filters": [64],
            "input_conv_kernel_sizes": [7],
            "stackwise_num_filters": [64, 64, 64, 64],
            "stackwise_num_blocks": [1, 1, 2, 1],
            "stackwise_num_strides": [1, 2, 2, 2],
            "block_type": "bottleneck_block",
            "image_shape": IMAGE,
            **arguments,
        }
    )


def _efficientnet(hub, kind):
    return hub.EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 3, 5],
        stackwise_num_repeats=[1, 2, 2],
        stackwise_input_filters=[16, 16, 24],
        stackwise_output_filters=[16, 24, 32],
        stackwise_expansion_ratios=[1, 4, 6],
        stackwise_strides=[1, 2, 2],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25, 0.25],
        stackwise_block_types=kind,
        stackwise_width_coefficients=[1.0] * 3,
        stackwise_depth_coefficients=[1.0] * 3,
        stackwise_force_input_filters=[0] * 3,
        stackwise_nores_option=[False] * 3,
        num_features=32,
        input_shape=IMAGE,
    )


def _mobilenet(hub):
    return hub.MobileNetBackbone(
        stackwise_expansion=[[40, 56], [64, 144]],
        stackwise_num_blocks=[2, 2],
        stackwise_num_filters=[[16, 16], [24, 24]],
        stackwise_kernel_size=[[3, 3], [5, 5]],
        stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1, 1], [2, 2]],
        output_num_filters=32,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        last_layer_filter=48,
        squeeze_and_excite=0.5,
        image_shape=IMAGE,
    )


def _mobilenetv5(hub):
    return hub.MobileNetV5Backbone(
        stackwise_block_types=[["er"], ["uir", "uir"]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[24], [48, 48]],
        stackwise_strides=[[2], [2, 1]],
        stackwise_act_layers=[["relu"], ["relu", "relu"]],
        stackwise_exp_ratios=[[4.0], [6.0, 6.0]],
        stackwise_se_ratios=[[0.0], [0.0, 0.0]],
        stackwise_dw_kernel_sizes=[[0], [5, 5]],
        stackwise_dw_start_kernel_sizes=[[0], [0, 0]],
        stackwise_dw_end_kernel_sizes=[[0], [0, 0]],
        stackwise_exp_kernel_sizes=[[3], [0, 0]],
        stackwise_pw_kernel_sizes=[[1], [0, 0]],
        stackwise_num_heads=[[0], [0, 0]],
        stackwise_key_dims=[[0], [0, 0]],
        stackwise_value_dims=[[0], [0, 0]],
        stackwise_kv_strides=[[0], [0, 0]],
        stackwise_use_cpe=[[False], [False, False]],
        norm_layer="batch_norm",
        use_msfa=False,
        image_shape=IMAGE,
    )


def _hgnetv2(hub, **arguments):
    return hub.HGNetV2Backbone(
        **{
            "depths": [1, 1, 2],
            "embedding_size": 16,
            "hidden_sizes": [32, 64, 96],
            "stem_channels": [3, 16, 16],
            "hidden_act": "relu",
            "use_learnable_affine_block": False,
            "stackwise_stage_filters": [(16, 16, 32, 1, 1, 3), (32, 32, 64, 1, 1, 3), (64, 32, 96, 2, 1, 3)],
            "apply_downsample": [False, True, True],
            "use_lightweight_conv_block": [False, False, True],
            "image_shape": IMAGE,
            **arguments,
        }
    )


def _dfine(hub):
    image_encoder = _hgnetv2(
        hub,
        depths=[1, 1, 2, 1],
        hidden_sizes=[64, 128, 256, 512],
        stackwise_stage_filters=[
            [16, 16, 64, 1, 3, 3],
            [64, 32, 128, 1, 3, 3],
            [128, 64, 256, 2, 3, 5],
            [256, 64, 512, 1, 3, 5],
        ],
        apply_downsample=[False, True, True, True],
        use_lightweight_conv_block=[False, False, True, True],
        use_learnable_affine_block=True,
        image_shape=(None, None, 3),
        out_features=["stage3", "stage4"],
    )
    return hub.DFineBackbone(
        backbone=image_encoder,
        decoder_in_channels=[128, 128],
        encoder_hidden_dim=128,
        num_denoising=0,
        num_labels=80,
        hidden_dim=128,
        learn_initial_query=False,
        num_queries=30,
        anchor_image_size=(128, 128),
        feat_strides=[16, 32],
        num_feature_levels=2,
        encoder_in_channels=[256, 512],
        encode_proj_layers=[1],
        num_attention_heads=8,
        encoder_ffn_dim=128,
        num_encoder_layers=1,
        hidden_expansion=0.34,
        depth_multiplier=0.5,
        eval_idx=-1,
        num_decoder_layers=2,
        decoder_attention_heads=8,
        decoder_ffn_dim=128,
        decoder_n_points=[6, 6],
        lqe_hidden_dim=64,
        num_lqe_layers=2,
        out_features=["stage3", "stage4"],
        image_shape=(128, 128, 3),
        seed=0,
    )


def _deit(hub):
    return hub.DeiTBackbone(
        image_shape=IMAGE, patch_size=16, num_layers=2, num_heads=2, hidden_dim=32, intermediate_dim=64
    )


def _vit(hub):
    return hub.ViTBackbone(image_shape=IMAGE, patch_size=(16, 16), num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64)


def _dinov2(hub, image_shape=IMAGE):
    return hub.DINOV2Backbone(
        patch_size=16,
        num_layers=4,
        hidden_dim=32,
        num_heads=2,
        intermediate_dim=64,
        image_shape=image_shape,
        position_embedding_shape=image_shape,
    )


def _dinov3(hub):
    return hub.DINOV3Backbone(
        patch_size=16, num_layers=2, hidden_dim=32, num_heads=2, intermediate_dim=64, image_shape=IMAGE
    )


def _depth_anything(hub):
    return hub.DepthAnythingBackbone(
        image_encoder=_dinov2(hub, (128, 128, 3)),
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[16, 32, 64, 128],
        fusion_hidden_dim=32,
        head_hidden_dim=16,
        head_in_index=-1,
        feature_keys=["stage1", "stage2", "stage3", "stage4"],
    )


def _mit(hub, **arguments):
    return hub.MiTBackbone(
        num_layers=2,
        hidden_dims=[16, 32],
        layerwise_depths=[1, 1],
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[4, 2],
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        max_drop_path_rate=0.1,
        image_shape=IMAGE,
    )


def _segformer(hub):
    image_encoder = hub.MiTBackbone(
        num_layers=4,
        hidden_dims=[16, 24, 32, 40],
        layerwise_depths=[1, 1, 1, 1],
        layerwise_num_heads=[1, 1, 2, 2],
        layerwise_sr_ratios=[8, 4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        max_drop_path_rate=0.1,
        image_shape=IMAGE,
    )
    return hub.SegFormerBackbone(image_encoder=image_encoder, projection_filters=32)


def _swin(hub):
    return hub.SwinTransformerBackbone(image_shape=IMAGE, embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4)


def _vit_det(hub):
    return hub.ViTDetBackbone(
        image_shape=IMAGE,
        patch_size=16,
        hidden_size=16,
        num_layers=2,
        global_attention_layer_indices=[1],
        intermediate_dim=32,
        num_heads=2,
        num_output_channels=8,
        window_size=2,
    )


def _cspnet(hub, **arguments):
    return hub.CSPNetBackbone(
        stem_filters=16,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1, 2],
        stackwise_strides=[1, 2],
        stackwise_num_filters=[32, 64],
        bottle_ratio=[0.5],
        block_ratio=[1.0],
        stem_padding="same",
        image_shape=IMAGE,
        **arguments,
    )


def _retinanet(hub):
    return hub.RetinaNetBackbone(
        image_encoder=_resnet(hub, image_shape=(None, None, 3)),
        min_level=3,
        max_level=6,
        use_p5=True,
        use_fpn_batch_norm=True,
        image_shape=(128, 128, 3),
    )


def _deeplab(hub):
    return hub.DeepLabV3Backbone(
        image_encoder=_resnet(hub, image_shape=(None, None, 3)),
        projection_filters=16,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[2, 4, 6],
        image_shape=IMAGE,
    )


def _basnet(hub):
    image_encoder = hub.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )
    return hub.BASNetBackbone(image_encoder=image_encoder, num_classes=1, image_shape=IMAGE)


_HUB = {
    "ResNet": _resnet,
    "ResNetV2": functools.partial(_resnet, use_pre_activation=True),
    "ResNet basic": functools.partial(_resnet, block_type="basic_block"),
    "EfficientNet": functools.partial(_efficientnet, kind=["v1"] * 3),
    "EfficientNetV2": functools.partial(_efficientnet, kind=["fused", "fused", "unfused"]),
    "MobileNet": _mobilenet,
    "MobileNetV5": _mobilenetv5,
    "HGNetV2": _hgnetv2,
    "CSPNet": functools.partial(
        _cspnet, block_type="bottleneck_block", stage_type="csp", expand_ratio=[2.0], cross_linear=True
    ),
    "DarkNet": functools.partial(_cspnet, block_type="dark_block", stage_type="dark", expand_ratio=[1.0]),
    "DenseNet": lambda hub: hub.DenseNetBackbone(stackwise_num_repeats=[2, 3], growth_rate=8, image_shape=IMAGE),
    "Xception": lambda hub: hub.XceptionBackbone(
        stackwise_conv_filters=[[8, 16], [16, 32], [32, 32]], stackwise_pooling=[True, True, False], image_shape=IMAGE
    ),
    "VGG": lambda hub: hub.VGGBackbone(stackwise_num_repeats=[1, 2], stackwise_num_filters=[16, 32], image_shape=IMAGE),
    "RetinaNet (FPN)": _retinanet,
    "DeepLabV3": _deeplab,
    "BASNet": _basnet,
    "ViT": _vit,
    "DeiT": _deit,
    "DINOV2": _dinov2,
    "DINOV3": _dinov3,
    "DepthAnything": _depth_anything,
    "MiT": _mit,
    "SegFormer": _segformer,
    "Swin": _swin,
    "ViTDet": _vit_det,
    "D-FINE": _dfine,
}
