"""Which backbones a recipe considers: those that were named, else what suits the data and is at hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart._progress import Progress
from headstart.backbones.catalogue import Entry, entries, licences_named, select
from headstart.backbones.locate import abort_transfers, hub_is_offline, without_network
from headstart.backbones.presence import places
from headstart.backbones.pull import pull
from headstart.backbones.resolve import Local, resolve
from headstart.backbones.spec import BackboneSpec
from headstart.data.dataset import Items, LeftOut
from headstart.data.profile import Profile, profile
from headstart.errors import BackboneError
from headstart.recipes.options import FitOptions
from headstart.recipes.race import MOST_ITEMS
from headstart.recipes.workspace import Clock
from headstart.selection.compatibility import TOKENS_A_WORD, doubts, obstacle
from headstart.selection.prior import Prior, prior

_MOST_OTHERS = 8  # beside those in packages: each costs the reading of its weights before anything is shown
_MOST_FETCHED = 2
_SHARE_FOR_FETCHED = 0.3  # of the time that is left, for one that is fetched unasked: its download and its pass
_BYTES_A_S = 10e6  # of a download that nobody has measured
_BYTES_A_PARAMETER = 4
_GFLOPS_A_S = 20.0  # multiply–adds in float32 on two ordinary cores
_TRIES, _TRY_S = 20, 0.25  # to end a fetch that is too slow
_MEMORY_LIMITS = (  # of the container: version 2 and version 1
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Considered:
    """Backbones that can be computed.

    Attributes:
        backbones: The cheapest to run first, then the others, the most promising first.
        priors: What is known of them before they see an item, by name.
        notes: What speaks against one of them, one sentence each; it was said aloud.
        left_out: Those that cannot be computed, and why.
    """

    backbones: list[Local]
    priors: dict[str, Prior]
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def consider(items: Items, options: FitOptions, home: Path, clock: Clock, progress: Progress) -> Considered:
    """Find, fetch and check the backbones that come into question.

    Args:
        items: What the backbones are to see, in an order of which the beginning is a fair sample.
        options: Which names, licences and sizes come into question.
        home: headstart's home.
        clock: What is left of the budget; fetching counts.
        progress: Where it is said what is fetched and what is left out.

    Raises:
        BackboneError: If one that was named cannot be used, or none is left.
        OptionError: If no backbone has such a licence.
    """
    seen = profile(items)
    with without_network() if options.offline else nullcontext():
        if options.backbones:
            found, lost = _named(options, home)
        else:
            found, lost = _at_hand(items, seen, options, home, clock, progress)
    called = [local.spec.name for local in found]
    if len(set(called)) < len(called):
        raise BackboneError(
            f"the backbones to consider must have different names, but got {', '.join(map(repr, called))}",
            hint="Rename one of the folders, or name each backbone once.",
        )
    for local in found:
        if local.spec.modality != items.modality:
            raise BackboneError(
                f"{local.spec.name!r} is a backbone for {local.spec.modality}s, and the data holds {items.modality}s",
                hint=f"Choose another one: headstart backbones list --modality {items.modality}",
            )
    known, memory_bytes = entries(), _memory_bytes()
    reasons = {
        local.spec.name: _forbidden(known.get(local.spec.name, local.spec), options)
        or obstacle(local.spec, memory_bytes=memory_bytes)
        for local in found
    }
    lost += [LeftOut(name, reason) for name, reason in reasons.items() if reason]
    kept = [local for local in found if not reasons[local.spec.name]]
    for each in lost:
        progress.say(f"{each.name} is left out: {each.reason}.")
    if not kept:
        why = "; ".join(f"{each.name}: {each.reason}" for each in lost[:3])
        raise BackboneError(
            "none of the backbones that come into question can be used here: "
            + (why or "none that --licence and --max-params allow is on this disk, and none was fetched"),
            hint="Allow others with --backbone, --licence or --max-params, or fetch one: headstart backbones pull NAME",
        )
    priors = {local.spec.name: prior(known.get(local.spec.name, local.spec)) for local in kept}
    notes = [
        note for local in kept for note in doubts(local.spec, seen, languages=_languages(known.get(local.spec.name)))
    ]
    for note in notes:
        progress.say(note)
    return Considered(_in_order(kept, priors), priors, tuple(notes), tuple(lost))


def _named(options: FitOptions, home: Path) -> tuple[list[Local], list[LeftOut]]:
    """What the catalogue knows to be against the user's rules is not even fetched."""
    known, found, lost = entries(), [], []
    for name in dict.fromkeys(options.backbones):
        if name in known and (reason := _forbidden(known[name], options)):
            lost.append(LeftOut(name, reason))
        else:
            found.append(resolve(name, home, arch=options.arch))
    return found, lost


def _at_hand(
    items: Items, seen: Profile, options: FitOptions, home: Path, clock: Clock, progress: Progress
) -> tuple[list[Local], list[LeftOut]]:
    """What is on this disk, and the best that a network and the budget allow."""
    suited = select(
        entries().values(), modality=items.modality, licences=options.licences, max_params=options.max_params
    )
    here = places(suited, home)
    packaged = [each for each in suited if here.get(each.name) == "package"]
    others = _most_promising([each for each in suited if here.get(each.name, "package") != "package"], _MOST_OTHERS)
    with without_network():  # the hub may have a newer commit than its cache, which nobody has asked for
        found, lost = _had(packaged + others, lambda name: resolve(name, home))
    if not options.offline:
        # Those of the hub alone: a fetch from elsewhere cannot be stopped.
        missing = [each for each in suited if each.name not in here and each.repository]
        wanted = _most_promising(_affordable(missing, len(items), seen, clock.left_s), _MOST_FETCHED)
        if wanted and not hub_is_offline():
            limit_s = _SHARE_FOR_FETCHED * clock.left_s
            fetched, missed = _had(
                wanted,
                lambda name: _in_time(lambda stop: pull(name, home, progress=progress, stop=stop), limit_s),
            )
            found, lost = found + fetched, lost + missed
    return found, lost


def _had(wanted: Iterable[Entry], get: Callable[[str], Local]) -> tuple[list[Local], list[LeftOut]]:
    """Nobody asked for these by name: one that cannot be had is left out, and the others go on."""
    found, lost = [], []
    for each in wanted:
        try:
            found.append(get(each.name))
        except BackboneError as error:
            lost.append(LeftOut(each.name, str(error)))
    return found, lost


def _in_time(fetch: Callable[[threading.Event], Local], limit_s: float) -> Local:
    """What is fetched, unless the network is slower than it may be; what has come stays for the next time.

    Raises:
        BackboneError: If it cannot be fetched, or not in time.
    """
    done: list[Local | Exception] = []
    stop = threading.Event()

    def run() -> None:
        try:
            done.append(fetch(stop))
        except Exception as error:  # noqa: BLE001 - it is raised again where it can be told
            done.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        # The hub's client has threads of its own, and Python does not exit before they have ended.
        stop.set()
        for _ in range(_TRIES):
            abort_transfers()
            thread.join(_TRY_S)
            if not thread.is_alive():
                break
    if not done or (stop.is_set() and isinstance(done[0], Exception)):
        raise BackboneError(
            f"it was not fetched within {limit_s:.0f} s", hint="Fetch it ahead: headstart backbones pull."
        )
    if isinstance(done[0], Exception):
        raise done[0]
    return done[0]


def _most_promising(backbones: Iterable[Entry], n_most: int) -> list[Entry]:
    return sorted(backbones, key=lambda each: -prior(each).value)[:n_most]


def _affordable(missing: Iterable[Entry], n_items: int, seen: Profile, left_s: float) -> list[Entry]:
    """Those whose download and race leave most of the time to the others."""
    n_looked = min(n_items, MOST_ITEMS)
    return [
        each
        for each in missing
        if _BYTES_A_PARAMETER * each.n_params / _BYTES_A_S + n_looked * _gflops(each, seen) / _GFLOPS_A_S
        <= _SHARE_FOR_FETCHED * left_s
    ]


def _gflops(entry: Entry, seen: Profile) -> float:
    """For one of the items: the catalogue has what a text of `max_tokens` costs, and most are shorter."""
    if not entry.max_tokens or not seen.n_words:
        return entry.gflops
    n_tokens = np.minimum(TOKENS_A_WORD * np.array(seen.n_words), entry.max_tokens)
    return entry.gflops * float(n_tokens.mean()) / entry.max_tokens


def _forbidden(facts: Entry | BackboneSpec, options: FitOptions) -> str:
    """Why the user's own rules, which hold for named ones too, are against it; empty when they are not."""
    if options.max_params is not None and facts.n_params > options.max_params:
        return f"it has {facts.n_params / 1e6:.1f} M parameters, and --max-params allows {options.max_params / 1e6:g} M"
    if options.licences and facts.licence not in licences_named(options.licences):
        return f"its licence is {facts.licence or 'unknown'}, and --licence allows {', '.join(options.licences)}"
    return ""


def _in_order(backbones: list[Local], priors: dict[str, Prior]) -> list[Local]:
    """The first one has to give a result soon; what comes after it is worth its time or is skipped."""
    first = min(backbones, key=lambda local: local.spec.running_cost)
    others = [local for local in backbones if local is not first]
    return [first, *sorted(others, key=lambda local: (-priors[local.spec.name].value, local.spec.gflops))]


def _languages(entry: Entry | None) -> tuple[str, ...]:
    return () if entry is None else entry.languages


def _memory_bytes() -> int | None:
    """The least of what the machine has and the container may use; None where neither is known."""
    known = []
    with suppress(AttributeError, ValueError, OSError):  # not on this system
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in _MEMORY_LIMITS:
        with suppress(ValueError, OSError):  # there is no such file, or it says `max`
            known.append(int(limit.read_text(encoding="ascii")))
    return min(known, default=None)
