"""Many training steps as one program on the device, where JAX computes: a chunk of steps between two reads of the host.

`ends`: where a chunk must end; `lengths`: how long it is; `pixels` and `feeds`: where its batches come from; `program`:
the compiled loop; `state`: the model's variables while the program has them; `loop`: what takes the place of Keras'
`fit`.
"""
