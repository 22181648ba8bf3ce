"""AdamW for weights in bfloat16: exact sums in float32, multiplications in the type that the processor is fast in.

With 8 bits of mantissa a bfloat16 weight ignores updates below 1/256 of itself. So each weight has a float32 master
copy that is updated and rounded back. Adapters in bfloat16 save PEFT's casts around every matrix (about 1.3 times the
speed).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class MasterAdamW(Optimizer):
    """Decoupled weight decay Adam (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2) on float32 master weights.

    The masters are part of the optimiser's state, so that a resumed run goes on exactly.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every weight that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, param.grad.float(), group)
        return loss

    def load_state_dict(self, state_dict: Any) -> None:
        """Loads a state; the base class casts it to the weights' type, which would round the masters."""
        super().load_state_dict(state_dict)
        saved = state_dict["state"]
        params = [param for group in self.param_groups for param in group["params"]]
        for index, param in enumerate(params):
            for name, value in saved.get(index, {}).items():
                if isinstance(value, Tensor):
                    self.state[param][name] = value.to(param.device, torch.float32)

    def _update(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state["step"], state["master"] = 0, param.float().clone()
            state["mean"], state["square"] = torch.zeros_like(grad), torch.zeros_like(grad)
        state["step"] += 1
        first, second = group["betas"]
        state["mean"].lerp_(grad, 1 - first)
        state["square"].mul_(second).addcmul_(grad, grad, value=1 - second)
        scale = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        state["master"].mul_(1 - group["lr"] * group["weight_decay"])
        state["master"].addcdiv_(state["mean"], scale, value=-group["lr"] / (1 - first ** state["step"]))
        param.copy_(state["master"])
