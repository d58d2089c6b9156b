"""What can be set of one-shot strategies, with the defaults of DARTS where a method says nothing else."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
KeptShare = Annotated[float, Field(gt=0, le=1)]


class OneShotSettings(BaseModel):
    """How a supernet is trained.

    Args:
        epochs: over the images that train weights.
        batch_size: images of a step, of weights and of the architecture each.
        learning_rate, learning_rate_end: of the weights, by SGD, falling along a cosine over the epochs.
        momentum, weight_decay: of the same.
        gradient_clip: largest norm of a gradient of the weights.
        architecture_share: share of the images for training that train the architecture, not the weights.
        image_size: side that images are brought to; null for their own, of digits 32.
        images: how many images are trained on at most; null for all.
        network: fields of the networks that are other than in the space while weights are shared: channels and cells of
            cells, width (a factor) of chains of blocks; transforms: 1 there has trained matrices between kernel sizes.
        cost_weight: of the expected cost, beside the loss; null for the default of the method where there is a target,
            0 where there is none.
        candidates: networks judged with the shared weights when these are trained; --budget says the same.
        validation_images: how many judge a network; null for all of the validation.
        recalibration_images: of the training, to set the statistics of batch normalisation of a network that is judged.
        stop_skip_share: the search ends when this share of the derived network's edges is skipped; null for never.
        stop_sharpening: the search ends when the dominant eigenvalue grows, with the architecture of five eigenvalues
            before, as in DARTS-ES (Zela et al., ICLR 2020).
        eigenvalue_every: epochs from one eigenvalue to the next; 0 for none.
        eigenvalue_images: of those that train the architecture, how many it is measured on: that takes much memory.
        checkpoint_minutes: longest time between two checkpoints; there is one after each epoch.
        device: auto, cpu, cuda ...
        amp: mixed precision (bfloat16) on a GPU.
        channels_last: memory format of images and weights, but where oneDNN fails in it (see `placing.memory_format`).
        compile: torch.compile the supernet; second derivatives are taken of it as it was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=64, ge=2)
    learning_rate: Positive = 0.025
    learning_rate_end: NotNegative = 0.001
    momentum: Share = 0.9
    weight_decay: NotNegative = 3e-4
    gradient_clip: Positive = 5.0
    architecture_share: Share = 0.5
    image_size: int | None = Field(default=None, ge=1)
    images: int | None = Field(default=None, ge=2)
    network: dict[str, int | float] = Field(default_factory=dict)
    cost_weight: NotNegative | None = None
    candidates: int = Field(default=1, ge=1)
    validation_images: int | None = Field(default=None, ge=1)
    recalibration_images: int = Field(default=1024, ge=2)
    stop_skip_share: float | None = Field(default=None, gt=0, le=1)
    stop_sharpening: bool = False
    eigenvalue_every: int = Field(default=1, ge=0)
    eigenvalue_images: int = Field(default=16, ge=2)
    checkpoint_minutes: Positive = 5.0
    device: str = "auto"
    amp: bool = False
    channels_last: bool = True
    compile: bool = False


class DifferentiableSettings(OneShotSettings):
    """How architecture weights are trained beside those of the supernet.

    Args:
        architecture_learning_rate, architecture_weight_decay: of Adam on the architecture weights.
        warmup: share of the epochs, of each stretch where there are several, that train weights alone, rounded down.
        order: 2 looks one step of the weights ahead (DARTS, eq. 6 to 8), 1 does not.
        exact: whether the second derivative of order 2 is taken exactly rather than by differences of gradients, which
            count the kinks of ReLU.
        affine: whether batch normalisations of candidate operations of cells have weights; DARTS searches without.
        partial: operations of cells see one channel of so many (PC-DARTS).
        keep: operations left on every site after each of so many equal stretches but the last, as shares (P-DARTS).
        skip_dropout: at first, the probability that a skip connection is left out of a step (P-DARTS); it falls to 0
            over each stretch.
        max_skips: skip connections of a derived normal cell at most; null for any number.
    """

    architecture_learning_rate: Positive = 3e-4
    architecture_weight_decay: NotNegative = 1e-3
    warmup: Share = 0.0
    order: int = Field(default=1, ge=1, le=2)
    exact: bool = True
    affine: bool = False
    partial: int = Field(default=1, ge=1)
    keep: tuple[KeptShare, ...] = ()
    skip_dropout: Share = 0.0
    max_skips: int | None = Field(default=None, ge=0)
