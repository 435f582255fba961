"""Gradients with respect to hidden states, with Captum: integrated gradients, input times gradient, gradient norm."""

from types import ModuleType

import torch
from torch import Tensor

from ..errors import DiffMaskError
from ..explainer.masking import Masking
from ..explainer.modeling_diffmask import DiffMaskModel
from ..tasks.heads import widen


def integrated_gradients(
    explainer: DiffMaskModel,
    features: dict[str, Tensor],
    state: int = 0,
    *,
    steps: int = 50,
    batch_size: int = 512,
    signed: bool = False,
) -> Tensor:
    """
    Integrated Gradients (Sundararajan et al. 2017) for the predicted class's log-probability.

    The path leads from the input with all units masked, `b`, to the whole input. Signed scores of an input therefore
    sum to the drop in log-probability when all units are masked, up to the error of the Gauss-Legendre quadrature. By
    default scores are absolute values, as in the DiffMask authors' code: a mask must keep units that move the output
    in either direction.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baselines.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.
        steps (`int`, *optional*, defaults to 50): Points on the path, with a forward and a backward pass each.
        batch_size (`int`, *optional*, defaults to 512): Points in one forward pass; at least one per input.
        signed (`bool`, *optional*, defaults to `False`):
            Whether to keep the signs: above 0 is evidence for the prediction, below 0 evidence against it.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Sum over features, in nats; 0 at units that cannot be masked.

    Raises:
        DiffMaskError: If the state does not exist or has no baseline, or Captum is not installed.
    """
    found = _integrated(Masking(explainer, features, state), steps, batch_size)
    return found if signed else found.abs()


def sequential_integrated_gradients(
    explainer: DiffMaskModel,
    features: dict[str, Tensor],
    state: int = 0,
    *,
    steps: int = 16,
    batch_size: int = 512,
    signed: bool = False,
) -> Tensor:
    """
    Sequential Integrated Gradients (Enguehard 2023, equation 3) for the predicted class's log-probability.

    Each unit has its own path, from the input with only this unit masked to the whole input. Only this unit changes
    along the path, so the signed score equals the signed score of [`~hf_diffmask.methods.leave_one_out`], up to the
    error of the quadrature. It needs far more passes.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baselines.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.
        steps (`int`, *optional*, defaults to 16): Points on each path, with a forward and a backward pass each.
        batch_size (`int`, *optional*, defaults to 512): Points in one forward pass; at least one path.
        signed (`bool`, *optional*, defaults to `False`): Whether to keep the signs.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Sum over features, in nats; 0 at units that cannot be masked.

    Raises:
        DiffMaskError: If the state does not exist or has no baseline, or Captum is not installed.
    """
    masking = Masking(explainer, features, state)
    rows, units = masking.maskable.nonzero(as_tuple=True)
    integrated = _captum().IntegratedGradients(_Prediction(masking))
    found = torch.zeros(masking.maskable.shape, device=rows.device)
    # Paths per forward pass.
    many = max(1, batch_size // steps)
    for row, unit in zip(rows.split(many), units.split(many), strict=True):
        each = torch.arange(len(row), device=row.device)
        keep = torch.ones_like(masking.maskable[row])
        keep[each, unit] = False
        hidden = widen(masking.hidden[row]).detach().clone().requires_grad_()
        baselines = masking.mask(keep, row).to(hidden.dtype)
        attributed = integrated.attribute(hidden, baselines, additional_forward_args=row, n_steps=steps)
        found[row, unit] = attributed.detach()[each, unit].sum(-1).to(found.dtype)
    return found if signed else found.abs()


def input_x_gradient(
    explainer: DiffMaskModel, features: dict[str, Tensor], state: int = 0, *, signed: bool = False
) -> Tensor:
    """
    Hidden state times gradient (Shrikumar et al. 2016) for the predicted class's log-probability.

    This is the first-order cost of replacing a unit with 0; the baseline is not used. By default scores are absolute
    values, as in [`integrated_gradients`].

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.
        signed (`bool`, *optional*, defaults to `False`): Whether to keep the signs.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Sum over features, in nats; 0 at units that cannot be masked.

    Raises:
        DiffMaskError: If the state does not exist or has no baseline, or Captum is not installed.
    """
    masking = Masking(explainer, features, state)
    attributed = _captum().InputXGradient(_Prediction(masking)).attribute(*_inputs(masking))
    found = attributed.detach().sum(-1) * masking.maskable
    return found if signed else found.abs()


def gradient_norm(explainer: DiffMaskModel, features: dict[str, Tensor], state: int = 0) -> Tensor:
    """
    Gradient norm (Simonyan et al. 2014) of the predicted class's log-probability with respect to each hidden state.

    Nothing is masked, so the baseline is not used.

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Euclidean norm, in nats per unit of the state; 0 at units that cannot be
        masked.

    Raises:
        DiffMaskError: If the state does not exist or has no baseline, or Captum is not installed.
    """
    masking = Masking(explainer, features, state)
    hidden, number, rows = _inputs(masking)
    saliency = _captum().Saliency(_Prediction(masking))
    gradient = saliency.attribute(hidden, number, abs=False, additional_forward_args=rows)
    return gradient.detach().norm(dim=-1) * masking.maskable


class _Prediction:
    """The function to explain: hidden states `(N, T, d)` and numbers of inputs `(N,)` to log-probabilities `(N,)`."""

    def __init__(self, masking: Masking):
        self.masking = masking

    def __call__(self, hidden: Tensor, rows: Tensor) -> Tensor:
        return self.masking.log_probability(hidden, rows)


def _inputs(masking: Masking) -> tuple[Tensor, None, Tensor]:
    """Captum's arguments: the whole inputs, no choice of output, and the numbers of the inputs."""
    # Captum warns about inputs without `requires_grad`, and changes them.
    hidden = widen(masking.hidden).detach().clone().requires_grad_()
    return hidden, None, torch.arange(len(hidden), device=hidden.device)


def _integrated(masking: Masking, steps: int, batch_size: int) -> Tensor:
    """Signed Integrated Gradients, `(B, T)`; their sum is `log f(x) - log f(b)` for the predicted class."""
    hidden, number, rows = _inputs(masking)
    attributed = (
        _captum()
        .IntegratedGradients(_Prediction(masking))
        .attribute(
            hidden,
            baselines=masking.mask(torch.zeros_like(masking.maskable)).to(hidden.dtype),
            target=number,
            additional_forward_args=rows,
            n_steps=steps,
            internal_batch_size=max(batch_size, len(hidden)),
        )
    )
    return attributed.detach().sum(-1) * masking.maskable


def _captum() -> ModuleType:
    try:
        import captum.attr
    except ImportError as error:
        raise DiffMaskError("Gradients need Captum: pip install 'hf-diffmask[explainers]'.") from error
    return captum.attr
