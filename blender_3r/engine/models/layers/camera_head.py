"""Cameras read off one token per view, by repeated correction: the head of VGGT, which WinT3R has too.

Source: specs/vggt.md section 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import EncoderBlock, Mlp


class CameraHead(nn.Module):
    """Starts from a learned empty pose; every round sees the last round's pose and adds a correction.

    width: of the tokens. targets: numbers of a pose. eps: of the norms, except the one that the pose modulates.
    """

    def __init__(
        self,
        width: int,
        targets: int,
        *,
        depth: int = 4,
        heads: int = 16,
        iterations: int = 4,
        mlp_ratio: float = 4,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.iterations = iterations
        self.token_norm = nn.LayerNorm(width, eps=eps)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, targets))
        self.embed_pose = nn.Linear(targets, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.modulated_norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.trunk = nn.ModuleList(EncoderBlock(width, heads, mlp_ratio, eps, layer_scale=True) for _ in range(depth))
        self.trunk_norm = nn.LayerNorm(width, eps=eps)
        self.pose_branch = Mlp(width, width // 2, targets)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """tokens: (B, S, C), one per view, float32. mask: which views may read which, see layers.attention.attend().

        Returns the poses after every round, (rounds, B, S, targets), without activation; the last is the result.
        """
        normed = self.token_norm(tokens)
        pose = None
        rounds = []
        for _ in range(self.iterations):
            given = self.empty_pose_tokens.expand(*tokens.shape[:2], -1) if pose is None else pose
            shift, factor, gate = self.poseLN_modulation(self.embed_pose(given)).chunk(3, dim=-1)
            hidden = gate * (self.modulated_norm(normed) * (1 + factor) + shift) + normed
            for block in self.trunk:
                hidden = block(hidden, mask=mask)
            change = self.pose_branch(self.trunk_norm(hidden))
            pose = change if pose is None else pose + change
            rounds.append(pose)
        return torch.stack(rounds)
