"""Which places of a sequence get logits, as indices.

A model takes a count of last places as well. But a slice is not contiguous in memory. PyTorch then multiplies row by row,
with a copy of the whole output matrix for each (56 MB of the default model). Places that an index names are gathered first,
so that it is one product.
"""

from __future__ import annotations

import torch

LAST = torch.tensor([-1])
# For what is read only to be remembered.
NONE = torch.tensor([], dtype=torch.long)
