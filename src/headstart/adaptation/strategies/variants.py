"""Ways to fine-tune that have a name of their own: `FineTune` with other defaults, and the soup, which trains often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from headstart.adaptation.strategies.finetune import FineTune
from headstart.adaptation.strategies.settings import real, whole, word

if TYPE_CHECKING:
    from headstart.adaptation.finetuning import Job
    from headstart.adaptation.tuning import Tuned


@dataclass(frozen=True, slots=True)
class Full(FineTune):
    """All stages move, at one rate, so each epoch costs about as much as the whole network.

    Only what comes before the stages stays as it is. It is computed ahead and kept in the scratch folder for each item
    and view: maps of a convolution are large, about 0.8 MB an image and view for efficientnet_lite0; the tokens of a
    vision transformer take 0.05 to 0.3 MB, and a text about 0.8 kB a token.
    """

    n_stages: int | None = whole(None, 1, 64, search=False)
    name: ClassVar[str] = "full"


@dataclass(frozen=True, slots=True)
class Gradual(FineTune):
    """ULMFiT (Howard and Ruder 2018, arXiv:1801.06146): one stage after the other, lower ones slower, and its rates."""

    n_stages: int | None = whole(4, 1, 64, search=False)
    unfreeze_every: int = whole(1, 0, 200, search=False)
    stage_decay: float = real(1 / 2.6, 0.1, 1.0, search=(0.2, 1.0))
    schedule: str = word("slanted_triangular", "one_cycle", "cosine", search=False)
    name: ClassVar[str] = "gradual"


@dataclass(frozen=True, slots=True)
class Surgical(FineTune):
    """One stage moves, the lowest above the cut, and the head (Lee et al. 2022, arXiv:2210.11466).

    Early stages suit data that look different from those of the pretraining, late ones other classes.
    """

    n_stages: int | None = whole(3, 1, 64, search=False)
    trains: Literal["all", "biases", "one", "adapters"] = word("one", "all", "biases", "adapters", search=False)
    name: ClassVar[str] = "surgical"


@dataclass(frozen=True, slots=True)
class Biases(FineTune):
    """Biases and norms of the last stages move (BitFit, Ben Zaken et al. 2021, arXiv:2106.10199), at a higher rate."""

    learning_rate: float | None = real(1e-3, 1e-6, 1e-2, log=True, auto=True, search=(1e-4, 1e-2))
    trains: Literal["all", "biases", "one", "adapters"] = word("biases", "all", "one", "adapters", search=False)
    name: ClassVar[str] = "biases"


@dataclass(frozen=True, slots=True)
class Lora(FineTune):
    """Adapters of low rank beside linear layers (Hu et al. 2021, arXiv:2106.09685), merged into them at the end."""

    learning_rate: float | None = real(1e-3, 1e-6, 1e-2, log=True, auto=True, search=(1e-4, 1e-2))
    trains: Literal["all", "biases", "one", "adapters"] = word("adapters", "all", "biases", "one", search=False)
    rank: int = whole(8, 1, 256, log=True, search=(2, 64))
    name: ClassVar[str] = "lora"


@dataclass(frozen=True, slots=True)
class Soup(FineTune):
    """Several trainings with other rates and seeds, and the mean of their weights (2203.05482).

    With held-out items only those are averaged that do not make the mean worse; without, all are. What each half of
    the held-out items chooses is judged on the other half.

    Attributes:
        n_runs: Trainings; all begin at the same weights.
        members: Which of them are averaged: the sum of 1 for the first, 2 for the second, 4 for the third and so on.
            None lets held-out items choose, and takes all without such.
    """

    n_runs: int = whole(3, 2, 8, search=False)
    members: int | None = whole(None, 1, 255, search=False)
    name: ClassVar[str] = "soup"

    def n_epochs(self, n_items: int) -> int:
        """How many epochs all trainings have together that nothing ends earlier.

        Args:
            n_items: Those that they are trained on.
        """
        n_runs = self.n_runs if self.members is None else (self.members & ((1 << self.n_runs) - 1)).bit_count()
        return n_runs * FineTune.n_epochs(self, n_items)

    def _train(self, job: Job) -> Tuned:
        from headstart.adaptation.soup import soup

        return soup(self, job)
