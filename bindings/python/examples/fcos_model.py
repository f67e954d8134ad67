"""torchvision's FCOS, small enough for one core, and images of shapes to find.

Nothing is downloaded: the weights begin at random, the images are drawn. What the
examples fcos.py and fcos_table.py share.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from torch import Tensor

SIDE = 64  # pixels
BATCH = 2
CLASSES = ("rectangle", "disc", "triangle")


def import_torchvision() -> None:
    """Imports torchvision, also where its compiled operators are those of another torch.

    PyPI's wheel is compiled against torch with CUDA. Beside torch's wheel for the CPU
    its operators do not load, and importing it fails at the first one that it asks for by
    name. Training FCOS needs none of them: detections are only sorted out, by nms, in
    evaluation, which the examples do not do. So the names are given, and nothing behind them.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", schema)
        import torchvision  # noqa: F401


def fcos() -> torch.nn.Module:
    """FCOS with a feature pyramid on resnet18, whose batch normalisation is frozen.

    Frozen at its beginning: it does nothing. So nothing keeps activations, and
    gradients, of a size, as in a detector whose batches are too small for it.
    """
    import_torchvision()
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops import FrozenBatchNorm2d
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    backbone = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    return FCOS(backbone, num_classes=len(CLASSES), min_size=SIDE, max_size=SIDE)


def batches(seed: int) -> Iterator[tuple[list[Tensor], list[dict[str, Tensor]]]]:
    """Images and their boxes without end: the same for the same seed."""
    random = torch.Generator().manual_seed(seed)
    while True:
        pairs = [_picture(random) for _ in range(BATCH)]
        yield [image for image, _ in pairs], [target for _, target in pairs]


def _picture(random: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """A noisy image (3, SIDE, SIDE) with one to three shapes, and where they are."""
    image = 0.3 * torch.rand(3, 1, 1, generator=random) + 0.1 * torch.rand(
        3, SIDE, SIDE, generator=random
    )
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    boxes, labels = [], []
    for _ in range(_integer(random, 1, 3)):
        label = _integer(random, 0, len(CLASSES) - 1)
        width, height = _integer(random, 10, 32), _integer(random, 10, 32)
        left, top = _integer(random, 0, SIDE - width), _integer(random, 0, SIDE - height)
        across, down = (x - left) / width, (y - top) / height  # 0 to 1 in the box
        inside = (across > 0) & (across < 1) & (down > 0) & (down < 1)
        if CLASSES[label] == "disc":
            inside = (across - 0.5) ** 2 + (down - 0.5) ** 2 < 0.25
        elif CLASSES[label] == "triangle":
            inside &= (across - 0.5).abs() < down / 2
        colour = 0.3 + 0.7 * torch.rand(3, 1, 1, generator=random)
        image = torch.where(inside, colour, image)
        boxes.append([left, top, left + width, top + height])
        labels.append(label)
    return image, {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.tensor(labels),
    }


def _integer(random: torch.Generator, least: int, most: int) -> int:
    return int(torch.randint(least, most + 1, (), generator=random))
