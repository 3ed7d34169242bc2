"""What it costs to serve a model, and what the user allows it to cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headstart.adaptation.heads.forms import arrays_of
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec
from headstart.data.dataset import Dataset
from headstart.errors import OptionError
from headstart.features.latency import Latency
from headstart.recipes.climb import Climb
from headstart.recipes.options import FitOptions
from headstart.reports.record import CostRecord
from headstart.search.combine import Member, networks_of
from headstart.search.moving import Moved

_MB = 10**6
_BYTES_A_NUMBER = 4


def ms_per_item(backbones: Iterable[BackboneSpec], climb: Climb) -> float | None:
    """Milliseconds for an item of many on this machine, by the pace of passes; None where one was not measured.

    Args:
        backbones: What runs, each as often as it is named.
        climb: Knows the paces.
    """
    where = {"device": climb.compute.device, "dtype": climb.compute.precision}
    paces = [climb.speeds.speed(spec.name, **where) for spec in backbones]
    known = [pace for pace in paces if pace]
    return sum(1000.0 / pace for pace in known) if len(known) == len(paces) else None


def latency(backbones: Iterable[BackboneSpec], climb: Climb) -> Latency | None:
    """What several backbones take for an item one after the other; None where one of them has not been measured.

    Args:
        backbones: What runs, each as often as it is named.
        climb: Knows what each takes.
    """
    found = [climb.latency(spec.name) for spec in backbones]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    batches = [each.batch_ms for each in known if each.batch_ms is not None]
    return Latency(sum(each.alone_ms for each in known), sum(batches) if len(batches) == len(known) else None)


def _file_bytes(local: Local) -> int:
    return sum((local.folder / name).stat().st_size for name in local.sha256)


def not_too_costly(
    backbones: Sequence[Local], climb: Climb, *, max_latency_ms: float | None, max_size_mb: float | None
) -> list[Local]:
    """Those backbones whose network alone is not known to exceed what is allowed; of the others it is said.

    Args:
        backbones: One at least.
        climb: Knows what they took before, and where it is said.
        max_latency_ms: As in `Limits`.
        max_size_mb: Likewise.

    Raises:
        OptionError: If none is left: nothing that could be computed would be allowed.
    """
    reasons: dict[str, str] = {}
    for local in backbones:
        if max_size_mb is not None and (size_mb := _file_bytes(local) / _MB) > max_size_mb:
            reasons[local.spec.name] = f"its network has {size_mb:.1f} MB, and --max-size allows {max_size_mb:g}"
        elif (
            max_latency_ms is not None
            and (taken := climb.latency(local.spec.name)) is not None
            and taken.alone_ms > max_latency_ms
        ):
            takes = f"it takes {taken.alone_ms:.1f} ms for an item here"
            reasons[local.spec.name] = f"{takes}, and --max-latency allows {max_latency_ms:g}"
    if len(reasons) == len(backbones):
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise OptionError(
            f"no backbone is within what the model may cost: {why}",
            hint="Allow more with --max-latency or --max-size, or name a smaller --backbone.",
        )
    for name, reason in reasons.items():
        climb.progress.say(f"{name} is left out: {reason}.")
        climb.workspace.log("skipped", what=name, why=reason)
    return [local for local in backbones if local.spec.name not in reasons]


@dataclass(frozen=True)
class Limits:
    """What a model may cost. What is not known to exceed a limit is within it.

    Attributes:
        climb: Knows what backbones take.
        backbones: By name; their files are counted.
        n_items: The training items: some heads remember them.
        n_classes: The number of classes.
        max_latency_ms: The most milliseconds that an item alone may take, or, where that was not measured, an item of
            many; None for any.
        max_size_mb: The most megabytes (10⁶ bytes) that the networks and heads of the bundle may have; None for any.
    """

    climb: Climb
    backbones: Mapping[str, Local]
    n_items: int
    n_classes: int
    max_latency_ms: float | None = None
    max_size_mb: float | None = None

    @staticmethod
    def of(options: FitOptions, climb: Climb, backbones: Iterable[Local], train: Dataset) -> Limits:
        """Those that the user has set.

        Args:
            options: What the user asked for.
            climb: Knows what backbones take.
            backbones: All that candidates may see.
            train: The training items.
        """
        return Limits(
            *(climb, {each.spec.name: each for each in backbones}),
            n_items=len(train),
            n_classes=len(train.classes),
            max_latency_ms=options.max_latency_ms,
            max_size_mb=options.max_size_mb,
        )

    def allow(self, members: Sequence[Member]) -> bool:
        """Whether some candidates may be served together; a network that several need runs once.

        Args:
            members: The candidates.
        """
        taken_ms = None if self.max_latency_ms is None else self._latency_ms(members)
        if taken_ms is not None and self.max_latency_ms is not None and taken_ms > self.max_latency_ms:
            return False
        return self.max_size_mb is None or self._n_bytes(members) <= self.max_size_mb * _MB

    def within(self, candidates: Sequence[Member]) -> list[Member]:
        """Those of some candidates that may be served.

        Args:
            candidates: One at least.

        Raises:
            OptionError: If there are none. It says what the least is.
        """
        found = [each for each in candidates if self.allow([each])]
        if found:
            return found
        rules, least = [], []
        if self.max_latency_ms is not None:
            rules.append(f"take at most {self.max_latency_ms:g} ms an item")
            known = [self._latency_ms([each]) for each in candidates]
            least.append(f"the fastest takes {min((ms for ms in known if ms is not None), default=0):.1f} ms")
        if self.max_size_mb is not None:
            rules.append(f"have at most {self.max_size_mb:g} MB")
            smallest = min(self._n_bytes([each]) for each in candidates)
            least.append(f"the smallest has {smallest / _MB:.1f} MB")
        raise OptionError(
            f"the model must {' and '.join(rules)}, but {' and '.join(least)}",
            hint="Allow more with --max-latency or --max-size, or name a smaller --backbone.",
        )

    def costs(self, members: Sequence[Member]) -> CostRecord:
        """What it costs to serve some candidates together; a network that several need runs once.

        Args:
            members: The candidates.
        """
        networks = networks_of(members).values()
        taken = latency(networks, self.climb)
        return CostRecord(
            n_params=sum(spec.n_params for spec in networks) + sum(map(self._n_numbers, members)),
            size_mb=self._n_bytes(members) / _MB,
            latency_ms=None if taken is None else taken.alone_ms,
            batch_ms=None if taken is None else taken.batch_ms,
        )

    def _latency_ms(self, members: Sequence[Member]) -> float | None:
        networks = networks_of(members).values()
        taken = latency(networks, self.climb)
        return ms_per_item(networks, self.climb) if taken is None else taken.alone_ms

    def _n_bytes(self, members: Sequence[Member]) -> int:
        tuned = {each.first.local.spec.name: each.first.local for each in members if isinstance(each, Moved)}
        locals_ = [(tuned | dict(self.backbones))[name] for name in networks_of(members)]
        return sum(map(_file_bytes, locals_)) + _BYTES_A_NUMBER * sum(map(self._n_numbers, members))

    def _n_numbers(self, member: Member) -> int:
        """How many numbers its head has."""
        if isinstance(member, Moved):
            return sum(array.size for array in arrays_of(member.first.head).values())
        width = member.proposal.width
        return member.strategy.n_numbers(width=width, n_classes=self.n_classes, n_items=self.n_items)
