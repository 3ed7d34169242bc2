"""What it costs to serve a model, and what the user allows it to cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from headstart.adaptation.heads.forms import arrays_of
from headstart.adaptation.predictor import Predictor
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec
from headstart.errors import OptionError
from headstart.recipes.climb import Climb
from headstart.search.candidates import Candidate
from headstart.search.combine import Member, networks_of
from headstart.search.moving import Moved

_MB = 10**6
_BYTES_A_NUMBER = 4


def ms_per_item(backbones: Iterable[BackboneSpec], climb: Climb) -> float | None:
    """Milliseconds for an item on this machine, by the pace of passes; None where one of them has not been measured.

    Args:
        backbones: What runs, each as often as it is named.
        climb: Knows the paces.
    """
    where = {"device": climb.compute.device, "dtype": climb.compute.precision}
    paces = [climb.speeds.speed(spec.name, **where) for spec in backbones]
    known = [pace for pace in paces if pace]
    return sum(1000.0 / pace for pace in known) if len(known) == len(paces) else None


@dataclass(frozen=True)
class Limits:
    """What a model may cost. What is not known to exceed a limit is within it.

    Attributes:
        climb: Knows the paces.
        backbones: By name; their files are counted.
        fit: Fits the head of a candidate on all training items; its numbers are counted.
        max_latency_ms: The most milliseconds that an item may take; None for any.
        max_size_mb: The most megabytes (10⁶ bytes) that the networks and heads of the bundle may have; None for any.
    """

    climb: Climb
    backbones: Mapping[str, Local]
    fit: Callable[[Candidate], Predictor]
    max_latency_ms: float | None = None
    max_size_mb: float | None = None

    def allow(self, members: Sequence[Member], *, heads: bool = True) -> bool:
        """Whether some candidates may be served together; a network that several need runs once.

        Args:
            members: The candidates.
            heads: Whether heads are counted too. That takes as long as fitting them.
        """
        if self.max_latency_ms is not None:
            latency_ms = ms_per_item(networks_of(members).values(), self.climb)
            if latency_ms is not None and latency_ms > self.max_latency_ms:
                return False
        if self.max_size_mb is None:
            return True
        n_bytes = self._network_bytes(members)
        if heads and n_bytes <= self.max_size_mb * _MB:
            n_bytes += sum(self._head_bytes(member) for member in members)
        return n_bytes <= self.max_size_mb * _MB

    def within(self, candidates: Sequence[Member]) -> list[Member]:
        """Those of some candidates that may be served, their heads not counted.

        Args:
            candidates: One at least.

        Raises:
            OptionError: If there are none.
        """
        found = [each for each in candidates if self.allow([each], heads=False)]
        if not found:
            raise self.exceeded(candidates)
        return found

    def exceeded(self, candidates: Sequence[Member]) -> OptionError:
        """What to raise where none of some candidates may be served: it says what the least is.

        Args:
            candidates: One at least.
        """
        rules, least = [], []
        if self.max_latency_ms is not None:
            rules.append(f"take at most {self.max_latency_ms:g} ms an item")
            found = [ms_per_item(networks_of([each]).values(), self.climb) for each in candidates]
            least.append(f"the fastest takes {min((ms for ms in found if ms is not None), default=0):.1f} ms")
        if self.max_size_mb is not None:
            rules.append(f"have at most {self.max_size_mb:g} MB")
            smallest = min(self._network_bytes([each]) for each in candidates)
            least.append(f"the smallest has {smallest / _MB:.1f} MB without its head")
        return OptionError(
            f"the model must {' and '.join(rules)}, but {' and '.join(least)}",
            hint="Allow more with --max-latency or --max-size, or name a smaller --backbone.",
        )

    def _network_bytes(self, members: Sequence[Member]) -> int:
        tuned = {each.first.local.spec.name: each.first.local for each in members if isinstance(each, Moved)}
        locals_ = [(tuned | dict(self.backbones))[name] for name in networks_of(members)]
        return sum((local.folder / name).stat().st_size for local in locals_ for name in local.sha256)

    def _head_bytes(self, member: Member) -> int:
        head = member.first.head if isinstance(member, Moved) else self.fit(member).head
        return sum(_BYTES_A_NUMBER * array.size for array in arrays_of(head).values())
