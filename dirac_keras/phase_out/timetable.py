"""How fast the skips go: eta' and the weight of alpha at every step."""

from keras import ops


class Timetable:
    """eta' and the ramp of every step, computed inside the compiled step by one skip; the others copy them from it.

    The optimizer's own step count cannot be read there on every backend, so that skip counts.

    Args:
        leader: the `VariableSkip` that is called first.
        fraction: eta' / eta.
        schedule: Keras learning rate schedule, or None: eta' is what `leader.dual_rate` holds.
        start_step, end_step: numbers; alpha's weight in the network rises linearly from 0 to 1 between them. None
            for `end_step`: it jumps at the start.
    """

    def __init__(self, leader, fraction, schedule, start_step, end_step):
        self.leader = leader
        self.fraction = fraction
        self.schedule = schedule
        self.start_step = start_step
        self.end_step = end_step
        self.has_ramp = start_step > 0 or end_step is not None

    def advance(self, layer):
        """Move a layer on to the present step; called by each layer in each training step."""
        if layer is self.leader:
            step = ops.convert_to_tensor(layer.step)
            if self.schedule is not None:
                layer.dual_rate.assign(self.fraction * ops.cast(self.schedule(step), layer.dual_rate.dtype))
            if self.has_ramp:
                layer.ramp.assign(self.ramp(ops.cast(step, layer.ramp.dtype)))
            layer.step.assign(step + 1)
            return
        layer.dual_rate.assign(ops.convert_to_tensor(self.leader.dual_rate))
        if self.has_ramp:
            layer.ramp.assign(ops.convert_to_tensor(self.leader.ramp))

    def ramp(self, step):
        """The weight of alpha at a step (float tensor); above 0 from the start step on."""
        if self.end_step is None:
            return ops.cast(step >= self.start_step, step.dtype)
        return ops.clip((step + 1.0 - self.start_step) / (self.end_step - self.start_step), 0.0, 1.0)
