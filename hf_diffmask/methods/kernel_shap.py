"""Kernel SHAP (Lundberg and Lee 2017), with Captum: Shapley values of units, from random masks."""

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..ablations.running import masked_values
from ..errors import DiffMaskError
from ..explainer.masking import Masking
from ..explainer.modeling_diffmask import DiffMaskModel


def kernel_shap(
    explainer: DiffMaskModel,
    features: dict[str, Tensor],
    state: int = 0,
    *,
    samples: int = 200,
    batch_size: int = 512,
    seed: int = 0,
    signed: bool = False,
    log_odds: bool = False,
) -> Tensor:
    """
    Shapley values of units, for the log-probability or the log-odds of the predicted class.

    For each input, a linear model is fitted to random masks. Signed values of an input sum to the drop when all units
    are masked. By default scores are absolute values, as in
    [`~hf_diffmask.methods.gradients.integrated_gradients`].

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baselines.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.
        samples (`int`, *optional*, defaults to 200):
            Masks per input, including the mask that keeps all units and the empty mask; more than the number of units.
        batch_size (`int`, *optional*, defaults to 512): Masked inputs in one forward pass, from one input.
        seed (`int`, *optional*, defaults to 0): Seed of the masks; each input starts from this seed.
        signed (`bool`, *optional*, defaults to `False`): Whether to keep the signs.
        log_odds (`bool`, *optional*, defaults to `False`):
            Whether to explain log-odds instead of log-probability, see [`Task.value`].

    Returns:
        `torch.Tensor` of shape `(B, T)`: Shapley values in nats; 0 at units that cannot be masked.

    Raises:
        DiffMaskError: If there are too few samples, the state does not exist or has no baseline, or Captum is not
            installed.
    """
    found = _signed(Masking(explainer, features, state), samples, batch_size, seed, log_odds)
    return found if signed else found.abs()


@torch.no_grad()
def _signed(masking: Masking, samples: int, batch_size: int, seed: int, log_odds: bool = False) -> Tensor:
    """Signed Shapley values, `(B, T)`; their sum is `v(x) - v(b)`, the log-probability or log-odds of the class."""
    try:
        from captum.attr import KernelShap
    except ImportError as error:
        raise DiffMaskError("Kernel SHAP needs Captum: pip install 'hf-diffmask[explainers]'.") from error
    most = int(masking.maskable.sum(-1).max())
    if samples <= most:
        raise DiffMaskError(
            f"Kernel SHAP for {most} units needs at least {most + 1} samples, but `samples` is {samples}."
        )
    values = torch.zeros(masking.maskable.shape, device=masking.maskable.device)
    # Captum uses the global CPU generator; other code must not notice.
    with torch.random.fork_rng(devices=[]):
        for row, maskable in enumerate(masking.maskable):
            prediction = _Prediction(masking, row, log_odds)
            whole = torch.ones(1, int(maskable.sum()), device=values.device)
            if whole.numel() < 2:  # Captum cannot draw masks for a single unit.
                values[row, maskable] = (prediction(whole) - prediction(0 * whole)).to(values.dtype)
                continue
            torch.default_generator.manual_seed(seed)
            method = KernelShap(prediction)
            method.interpretable_model = _LeastSquares()
            values[row, maskable] = method.attribute(
                whole, n_samples=samples, perturbations_per_eval=batch_size
            ).flatten()
    return values


class _Prediction:
    """The function to explain: masks `(N, n)` for one input's `n` maskable units to values `(N,)`, in nats."""

    def __init__(self, masking: Masking, row: int, log_odds: bool):
        self.masking, self.row = masking, row
        task = masking.explainer.task
        self.explained = task.value if log_odds else task.log_probability

    def __call__(self, kept: Tensor) -> Tensor:
        masking, maskable = self.masking, self.masking.maskable[self.row]
        masks = torch.zeros(len(kept), len(maskable), dtype=torch.bool, device=kept.device)
        masks[:, maskable] = kept.bool()
        rows = torch.full((len(kept),), self.row, device=kept.device)
        given = (masking.explainer, masking.recorded, masks, rows, self.explained)
        return masked_values(*given, state=masking.state, batch_size=len(kept))


class _LeastSquares:
    """Linear model for Captum, in closed form: Captum's own needs scikit-learn, which Captum does not install."""

    def fit(self, data: DataLoader) -> None:
        (batch,) = data
        # Only the CPU solver accepts rank-deficient masks.
        masks, values, weights = (part.double().cpu() for part in batch)
        root = weights.flatten().sqrt()[:, None]
        design = torch.cat([masks, torch.ones(len(masks), 1, dtype=masks.dtype)], dim=-1)
        solution = torch.linalg.lstsq(root * design, root * values.reshape(-1, 1), driver="gelsd").solution
        self.coefficients = solution[:-1, 0].to(batch[0])

    def representation(self) -> Tensor:
        return self.coefficients
