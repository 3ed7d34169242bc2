"""What the records of a training tell: when it only learns its items by heart, and what else is remarkable."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.adaptation.epochs import Epoch

_RISE = 3
_GAP = 0.1


def watch(epochs: Sequence[Epoch], patience: int) -> str | None:
    """Why a training should stop now, or None: validation loss rises while training loss falls (Prechelt, 1998, UP).

    Each of the last `patience` epochs must have a higher validation loss than the one before it, and the last of them
    a lower training loss than the one before all of them.

    Args:
        epochs: Those that are done.
        patience: Epochs in a row; 0 never stops.
    """
    if not patience or _risen(epochs) < patience:
        return None
    return (
        f"validation loss has risen for {_epochs(patience)} while training loss fell: "
        f"stopped, epoch {lowest(epochs)} kept"
    )


def lowest(epochs: Sequence[Epoch]) -> int:
    """The number of the epoch with the lowest validation loss, the first of equal ones; 0 where there is none.

    Args:
        epochs: Those that are done.
    """
    losses = {epoch.number: epoch.validation.loss for epoch in epochs if epoch.validation is not None}
    return min(losses, key=losses.__getitem__, default=0)


def remarks(epochs: Sequence[Epoch]) -> tuple[str, ...]:
    """What is remarkable about a training that has ended, one sentence each.

    A validation loss below the training loss is no remark: dropout, smoothing and penalties count in training alone.

    Args:
        epochs: All that were done.
    """
    found = []
    if len(epochs) > 1 and epochs[-1].train.loss >= epochs[0].train.loss:
        first, last = epochs[0].train.loss, epochs[-1].train.loss
        found.append(
            f"Training loss did not fall: {first:.3g} in epoch {epochs[0].number}, "
            f"{last:.3g} in epoch {epochs[-1].number}."
        )
    if (risen := _risen(epochs)) >= _RISE:
        found.append(
            f"Validation loss has risen for {_epochs(risen)} while training loss fell; "
            f"it was lowest in epoch {lowest(epochs)}."
        )
    if epochs and (held_out := epochs[-1].validation) is not None:
        trained, other = epochs[-1].train.accuracy, held_out.accuracy
        if trained is not None and other is not None and trained - other > _GAP:
            found.append(f"Training accuracy is {trained:.3f} at the end, but validation accuracy {other:.3f}.")
    return tuple(found)


def _risen(epochs: Sequence[Epoch]) -> int:
    """For how many epochs validation loss has now risen; 0 where training loss did not fall meanwhile."""
    rises = 0
    for before, after in zip(reversed(epochs[:-1]), reversed(epochs), strict=False):
        if before.validation is None or after.validation is None or after.validation.loss <= before.validation.loss:
            break
        rises += 1
    return rises if rises and epochs[-1].train.loss < epochs[-1 - rises].train.loss else 0


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"
