"""The method "auto": which method and which weights, from what is known before anything is computed.

Only the method classic has been measured on footage (benchmarks): paths of shots with 60 to 450 frames within 0.02 to
0.2 % of their length, of sets with 11 to 50 photos within 0.09 %. What the networks can do is known from their
publications alone. So a network is chosen only where classic cannot help, or hardly: for one image; for few pictures,
two of which do not tell a focal length (10 % off, and the depth with it); for known poses of photos; and on a graphics
card for shots longer than classic was ever measured with.
Whether a camera moves is not known before the job runs: classic finds out, and says so for a tripod.

Standard library only: made for the panel at every change of a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import EngineError
from ..methods.memory import in_gigabytes

AUTO = "auto"
TITLES = {"classic": "Classic", "pairwise": "Pairwise", "streaming": "Streaming", "multiview": "Multi-View"}

FEW = 7  # pictures, at most, that classic can easily fail to join
LONG = 1000  # frames from which on a shot is longer than twice what classic was measured with

# Architectures, the best first, by the publications' own claims. Those with metres come first where all else is equal.
FOR_ONE = ("pi3x", "pi3", "mast3r", "vggt", "dust3r", "cut3r", "mv_dust3r", "fast3r")
FOR_FEW = ("mast3r", "pi3x", "vggt", "pi3", "dust3r", "mv_dust3r", "fast3r")
FOR_LONG = ("wint3r", "cut3r", "point3r", "spann3r")
FOR_POSES = ("pi3x", "mast3r", "dust3r")  # these take known poses
FOLLOW_POINTS = ("vggt",)  # these follow points by themselves, and others refuse to
# Which to get first: what works on a machine without a graphics card too, before what is larger.
FIRST_DOWNLOAD = ("mast3r", "pi3x", "vggt", "pi3", "dust3r")


@dataclass(frozen=True)
class Footage:
    """What is to be reconstructed. kind: as Source.kind. count: pictures in use."""

    kind: str
    count: int

    @property
    def is_video(self) -> bool:
        return self.kind in ("movie", "sequence")

    @property
    def words(self) -> str:
        """ "1 photo", "96 frames of footage"."""
        if self.count == 1:
            return "one image"
        return f"{self.count} " + {"photos": "photos", "rig": "cameras"}.get(self.kind, "frames of footage")


@dataclass(frozen=True)
class Weights:
    """A weight set that a method of this engine runs by itself; see zoo.Record."""

    id: str
    title: str
    method: str
    architecture: str
    commercial_use: bool = False
    downloaded: bool = False
    memory_bytes: int = 0
    download_bytes: int = 0


@dataclass(frozen=True)
class Machine:
    """Where networks would run. device: "cpu", "cuda", "mps". free_bytes: what a job may use there, None = unknown."""

    device: str = "cpu"
    free_bytes: int | None = None


@dataclass(frozen=True)
class Known:
    """What the request says. model: weights asked for. file: whether a checkpoint of the user's own is. lens, poses:
    whether those of the cameras are given. learned_tracks: whether the network itself is to follow points.
    """

    model: str = ""
    file: bool = False
    lens: bool = False
    poses: bool = False
    learned_tracks: bool = False

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Known:
        lens = settings.get("focal_px") is not None or settings.get("intrinsics") is not None
        given = {name: settings.get(name) is not None for name in ("weights", "poses")}
        return cls(
            settings.get("model") or "", given["weights"], lens, given["poses"], bool(settings.get("learned_tracks"))
        )


@dataclass(frozen=True)
class Choice:
    """method: "" when nothing here can do it. model: "" for classic. why: one line for people.

    hint: what to do where there is no method, else "". suggested: a model whose download would help, "" for none.
    needs_engine: networks need packages that this engine has not.
    """

    method: str
    model: str = ""
    why: str = ""
    hint: str = ""
    suggested: str = ""
    needs_engine: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Choice | None:
        """None for what is no choice."""
        if not isinstance(data, dict) or not isinstance(data.get("method"), str):
            return None
        kinds = {"str": str, "bool": bool}
        found = {one.name: data[one.name] for one in fields(cls) if one.name in data}
        is_sound = all(isinstance(found.get(one.name, one.default), kinds[str(one.type)]) for one in fields(cls)[1:])
        return cls(**found) if is_sound else None


def choose(
    footage: Footage,
    catalogue: Sequence[Weights],
    machine: Callable[[], Machine],
    known: Known = Known(),
    commercial_only: bool = False,
    has_torch: bool = True,
) -> Choice:
    """The method for a source, and the weights for it.

    catalogue: what this engine could run, downloaded or not. machine: asked only when a network comes into question,
    for PyTorch takes seconds to load. commercial_only: leave out models that allow no commercial use. Never fails: a
    Choice without a method says what is missing.
    """
    allowed = [one for one in catalogue if one.commercial_use or not commercial_only]
    if known.learned_tracks:
        allowed = [one for one in allowed if one.architecture in FOLLOW_POINTS]
    here = _Here(allowed, machine, has_torch)
    if known.model or known.file:
        return _asked_for(known.model, catalogue)
    if known.poses:
        return _for_poses(footage, here)
    if footage.count <= 1:
        return _for_one(footage, here, bool(catalogue) and not allowed)
    if footage.count <= FEW:
        return _for_few(footage, here, known.lens)
    if footage.is_video and footage.count >= LONG:
        return _for_long(footage, here)
    return _classic(footage, ", and it needs no weights")


def after_classic(catalogue: Sequence[Weights], commercial_only: bool = False, has_torch: bool = True) -> str:
    """What to try when classic solved nothing, as a sentence; "" when no network is at hand.

    Little texture and little parallax are what networks were made for, and neither is seen beforehand.
    """
    here = [one for one in catalogue if (one.commercial_use or not commercial_only) and one.downloaded]
    best = _best(here if has_torch else (), (*FOR_FEW, *FOR_LONG))
    if best is None:
        return ""
    return f"{best.title} may do where there is little texture: choose the method {TITLES[best.method]}."


def resolved(request: dict[str, Any], choice: Choice) -> dict[str, Any]:
    """The request that a choice makes of one with the method "auto"; "auto" keeps the choice itself.

    Raises EngineError("machine") when there is no method for it.
    """
    if not choice.method:
        command = f"models download {choice.suggested} --accept-licence"
        hint = f"{choice.hint} On the command line: {command}" if choice.suggested else choice.hint
        raise EngineError("machine", choice.why, hint)
    settings = dict(request.get("settings") or {})
    if choice.model:
        settings["model"] = choice.model
    else:
        settings.pop("refine", None)  # of networks: without one it is no reason to compute anything anew
        if settings.get("depth_prior") == "model":
            del settings["depth_prior"]
    return {**request, "method": choice.method, "settings": settings, AUTO: choice.to_json()}


# -- inside


class _Here:
    """The weights that are allowed, and what this machine can do with them."""

    def __init__(self, allowed: Sequence[Weights], machine: Callable[[], Machine], has_torch: bool) -> None:
        self.allowed = allowed
        self.has_torch = has_torch
        self._ask = machine
        self._machine: Machine | None = None

    @property
    def machine(self) -> Machine:
        if self._machine is None:
            self._machine = self._ask()
        return self._machine

    def best(self, architectures: Sequence[str]) -> Weights | None:
        """The best that could start at once."""
        there = [one for one in self.allowed if one.downloaded] if self.has_torch else []
        return _best([one for one in there if self.fits(one)], architectures)

    def fits(self, weights: Weights) -> bool:
        return self.machine.free_bytes is None or weights.memory_bytes <= self.machine.free_bytes

    def is_too_small(self, architectures: Collection[str]) -> bool:
        """Weights are downloaded, and none of them fits."""
        there = [one for one in self.allowed if one.downloaded and one.architecture in architectures]
        return self.has_torch and bool(there) and not any(map(self.fits, there))

    def to_download(self, architectures: Collection[str]) -> Weights | None:
        """What is worth to be downloaded for this."""
        first = [one for one in FIRST_DOWNLOAD if one in architectures]
        rest = [one for one in architectures if one not in first]
        missing = [one for one in self.allowed if not one.downloaded]
        return _best([one for one in missing if not self.has_torch or self.fits(one)], (*first, *rest))


def _best(weights: Iterable[Weights], architectures: Sequence[str]) -> Weights | None:
    """Of the best architecture the first in the list."""
    ranked = [one for one in weights if one.architecture in architectures]
    return min(ranked, key=lambda one: architectures.index(one.architecture), default=None)


def _classic(footage: Footage, reason: str, suggested: Weights | None = None) -> Choice:
    return Choice("classic", "", f"Classic: {footage.words}{reason}.", suggested=suggested.id if suggested else "")


def _network(weights: Weights, footage: Footage, reason: str) -> Choice:
    return Choice(weights.method, weights.id, f"{_name(weights)}: {footage.words} {reason}.")


def _name(weights: Weights) -> str:
    """ "Pairwise with MASt3R 512 (no commercial use)"."""
    licence = "" if weights.commercial_use else " (no commercial use)"
    return f"{TITLES[weights.method]} with {weights.title}{licence}"


def _asked_for(model: str, catalogue: Sequence[Weights]) -> Choice:
    """The method that runs the model. An unknown one goes to a method that says what is wrong with it."""
    found = next((one for one in catalogue if one.id == model), None)
    if found is None:
        what = f"the model {model}" if model else "a checkpoint"
        return Choice("pairwise", model, f"Pairwise: {what} was asked for.")
    return Choice(found.method, model, f"{_name(found)}: this model was asked for.")


def _for_poses(footage: Footage, here: _Here) -> Choice:
    if footage.is_video and footage.count > 1:
        return _classic(footage, ", solved from the known poses")
    best = here.best(FOR_POSES)
    if best is not None:
        return _network(best, footage, "with known poses, which it takes")
    if footage.count <= 1:
        return _for_one(footage, here, False)
    return _classic(footage, ", solved from the known poses", here.to_download(FOR_POSES))


def _for_one(footage: Footage, here: _Here, is_forbidden: bool) -> Choice:
    """Only a network can tell the depth of one image."""
    best = here.best(FOR_ONE)
    if best is not None:
        return _network(best, footage, "takes a network")
    why = "Only a network can tell the depth of one image"
    if is_forbidden:
        return Choice("", why=f"{why}, and no model for it allows commercial use.", hint="Pick more pictures.")
    if not here.has_torch:
        hint = "Install the Full engine, or pick more pictures."
        return Choice("", why=f"{why}, and this engine has no PyTorch.", hint=hint, needs_engine=True)
    if here.is_too_small(FOR_ONE):
        room = in_gigabytes(here.machine.free_bytes or 0)
        hint = "Close other programs, or choose another device."
        return Choice("", why=f"{why}, and those on this machine need more than {room} of memory.", hint=hint)
    wanted = here.to_download(FOR_ONE)
    hint = f"{_download(wanted)}, or pick more pictures." if wanted else "Pick more pictures."
    return Choice("", why=f"{why}, and none is downloaded.", hint=hint, suggested=wanted.id if wanted else "")


def _download(weights: Weights) -> str:
    """ "Download MASt3R 512, metric (2.8 GB, no commercial use)"."""
    facts = [in_gigabytes(weights.download_bytes)] if weights.download_bytes else []
    facts.append("commercial use allowed" if weights.commercial_use else "no commercial use")
    return f"Download {weights.title} ({', '.join(facts)})"


def _for_few(footage: Footage, here: _Here, knows_lens: bool) -> Choice:
    """Few pictures may not overlap enough for classic, and hardly tell the focal length."""
    if knows_lens:
        return _classic(footage, " whose lens is known, and it needs no weights")
    best = here.best(FOR_FEW)
    if best is not None:
        return _network(best, footage, "are too few to measure the lens by")
    if here.is_too_small(FOR_FEW):
        return _classic(footage, " are few, but the networks on this machine need more memory")
    if not here.has_torch:
        return _classic(footage, " are few, but this engine runs no networks")
    return _classic(footage, " are few, but no network for them is downloaded", here.to_download(FOR_FEW))


def _for_long(footage: Footage, here: _Here) -> Choice:
    """Networks follow long shots in steady memory, and show what they have; without a graphics card they take hours."""
    has_weights = here.has_torch and any(one.downloaded and one.architecture in FOR_LONG for one in here.allowed)
    if has_weights and here.machine.device != "cpu":
        best = here.best(FOR_LONG)
        if best is not None:
            return _network(best, footage, "are more than Classic was measured with")
    return _classic(footage, ", and it needs no weights")
