"""The compiled loop over the steps of a chunk (JAX)."""

import logging
import time

import keras

logger = logging.getLogger("dirac_keras")


class ChunkProgram:
    """`count` training steps of a model as one program, compiled once for every count up to the feed's capacity.

    The step is the model's own `train_step`, Keras' for JAX. The loop stays a loop: unrolled, it would be compiled as
    often as it has steps. `state` is used up.

    Args:
        model: compiled and built `keras.Model`, its metrics built too.
        feed: see `feeds`.
        most: int, the steps that a chunk will have at most, for the log; None: as many as the feed has room for.

    Attributes:
        compile_seconds: float; None before the first call.
        executable: what JAX has compiled, with `cost_analysis()` and `memory_analysis()`; None before.
    """

    def __init__(self, model, feed, most=None):
        self.model = model
        self.feed = feed
        self.most = feed.capacity if most is None else most
        self.compile_seconds = None
        self.executable = None

    def compile(self, state, chunk):
        """Compile for arguments like these, once."""
        import jax

        if self.executable is not None:
            return
        start = time.perf_counter()
        count = jax.numpy.asarray(1, "int32")
        options = {"donate_argnums": 0}
        if self.feed.place.strategy is not None:  # the state lies on several devices afterwards as it did before
            options["out_shardings"] = (jax.tree.map(lambda array: array.sharding, state), None)
        self.executable = jax.jit(self._run, **options).lower(state, self.feed.constants, chunk, count).compile()
        self.compile_seconds = time.perf_counter() - start
        at_a_time = "one at a time" if self.most == 1 else f"up to {self.most} at a time"
        logger.info("steps compiled together in %.1f s, %s", self.compile_seconds, at_a_time)

    def __call__(self, state, chunk, count):
        """Dispatch the steps. Returns: `(state, logs)`, arrays that the device may still be computing."""
        import jax

        self.compile(state, chunk)
        return self.executable(state, self.feed.constants, chunk, jax.numpy.asarray(count, "int32"))

    def _run(self, state, constants, chunk, count):
        import jax

        def body(index, state):
            item = jax.tree.map(lambda part: jax.lax.dynamic_index_in_dim(part, index, keepdims=False), chunk)
            return self.step(state, constants, item)

        state = jax.lax.fori_loop(0, count, body, state)
        return state, self.logs(state[-1])

    def step(self, state, constants, item):
        """One training step, while it is traced. Returns: the state behind it."""
        _, state = self.model.train_step(state, self.feed.batch(constants, item))
        return tuple(map(list, state))

    def logs(self, metrics):
        """What the metrics say after the last step: each step's own are not kept, so they cost nothing."""
        with keras.StatelessScope(state_mapping=list(zip(self.model.metrics_variables, metrics, strict=True))):
            return self.model.get_metrics_result()
