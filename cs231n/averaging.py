"""A moving average of the weights along training: often a better network than the last step's."""

import copy

import torch

EVERY = 5  # steps between two updates, so that averaging costs next to nothing
MEMORY = 0.04  # of the run: about so much of it the average remembers


class WeightAverage:
    """Keeps avg = avg + share * (weights - avg) in `model`, a second network of the same form.

    `share` is EVERY / (MEMORY * steps), and larger at the beginning, so that the first random
    weights are forgotten at once. The running statistics of batch norm are averaged with the
    weights that they belong to; counters are copied.

    Source: Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992;
    with the exponential form of Tarvainen, Valpola, 1703.01780, section 2.

    Args:
        model: the network that is trained. It is copied.
        steps: how many steps the whole run has.
    """

    def __init__(self, model, steps):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.share = min(1.0, EVERY / (MEMORY * steps))

    @torch.no_grad()
    def update(self, model, step):
        """Move the average towards the weights that `model` has after `step` steps.

        Only one step in EVERY counts, and the first few.
        """
        if step % EVERY and step > EVERY:
            return
        share = max(self.share, 10 / (10 + step / EVERY))
        averages, values = [], []
        for average, value in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, share)
