"""The predictive distribution of K draws: its negative log-likelihood, and where its variance comes from.

The law of total variance splits what a model does not know in two: E[sigma^2], the noise that it expects
under every draw, and Var[mu], by which its draws disagree (epistemic).
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.likelihoods import GaussianMixture, accumulator
from vnp_core.metrics.calibration import Mixture, mean_over_present
from vnp_core.objectives import log_mean_exp


@dataclass(frozen=True)
class VarianceSplit:
    """The two parts of a predictive variance at each channel of each target, in float64."""

    noise: Float[Tensor, "B M Y"]
    epistemic: Float[Tensor, "B M Y"]

    @property
    def total(self) -> Float[Tensor, "B M Y"]:
        """Variance of an observation."""
        return self.noise + self.epistemic


def negative_log_likelihood(
    prediction: Mixture, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
) -> Float[Tensor, "B"]:
    """-log mean_k p(y_i | draw k) in nats a target, summed over its channels; NaN without any target.

    The mean over draws is taken at each target, within the logarithm. In float64, lower is better, and it may
    be negative: it is a density.
    """
    return -mean_over_present(log_mean_exp(prediction.log_probs(y, mask), 1), mask)


def moment_matched(prediction: Mixture) -> GaussianMixture:
    """The one Gaussian with the mixture's own mean and variance, as a mixture of a single draw.

    The moments are those of the mixture as it stands, so the means' variance has K below it, not K - 1.
    """
    kind = accumulator(prediction.means.device)
    means = prediction.means.to(kind)
    mean = means.mean(1, keepdim=True)
    variance = (prediction.stds.to(kind).square() + (means - mean).square()).mean(1, keepdim=True)
    return GaussianMixture(mean, variance.sqrt())


def split_variance(prediction: Mixture) -> VarianceSplit:
    """E[sigma^2] and Var[mu], both unbiased for the model's own where the K draws are independent.

    A single draw cannot disagree with itself: its epistemic part is 0, as of a model that has no draws.
    """
    kind = accumulator(prediction.means.device)
    means, stds = prediction.means.to(kind), prediction.stds.to(kind)
    squares = (means - means.mean(1, keepdim=True)).square().sum(1)
    return VarianceSplit(stds.square().mean(1), squares / max(1, means.shape[1] - 1))
