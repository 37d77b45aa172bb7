"""Names of layers that come to stand in one graph."""

from dirac_keras.graph.names import unused_name


def test_a_name_is_given_once():
    taken = {"conv", "block_conv_1"}
    assert [unused_name("block/conv", taken) for _ in range(3)] == ["block_conv", "block_conv_2", "block_conv_3"]
    assert unused_name("conv", taken) == "conv_1" and {"block_conv", "block_conv_3", "conv_1"} <= taken
