"""Which method and model a scene's settings mean, and what stands in the way. Of bpy it knows types and translation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bpy.app.translations import pgettext_iface as iface_

from ..client.library import library
from ..client.model_facts import Model
from ..client.pick import Pick
from ..client.session import session

if TYPE_CHECKING:
    import bpy

    from ..properties import THREER_PG_settings

AUTO = "auto"
DEFAULTS = {"pairwise": "mast3r-512", "streaming": "wint3r-512", "multiview": "vggt-1b"}  # where no model is chosen
HELPERS = ("mast3r-retrieval",)  # work beside another model, not by themselves
NEEDS_FULL = "This method needs the Full engine, which has PyTorch."
FORBIDDEN = "Only models that allow commercial use may be used here, and this one does not."


def needs_model(settings: THREER_PG_settings) -> bool:
    """The method takes a network, and the user says which."""
    return settings.method in DEFAULTS


def pick(settings: THREER_PG_settings) -> Pick | None:
    """What the engine would choose for the method Auto, as far as it has said so for these settings."""
    if settings.method != AUTO:
        return None
    found = library.estimate_of(estimate_key(settings), settings.id_data)
    return Pick.from_message(found.get("choice")) if found is not None else None


def method_in_use(settings: THREER_PG_settings) -> str:
    """The method that a job would use; "" while the engine has not chosen."""
    if settings.method != AUTO:
        return settings.method
    picked = pick(settings)
    return picked.method if picked is not None else ""


def model_id(settings: THREER_PG_settings) -> str:
    """The model that a job would use; "" for methods without one, and where the engine chooses."""
    default = DEFAULTS.get(settings.method, "")
    known = library.catalogue.models.get(settings.model)
    if settings.model and (known is None or known.method == settings.method) and default:
        return settings.model
    fallback = library.catalogue.models.get(default)
    if fallback is None or fallback.allowed:
        return default
    return next((model.id for model in choices(settings)), default)


def choices(settings: THREER_PG_settings) -> list[Model]:
    """Models that the method can use by themselves and that are allowed here, those on this machine first."""
    found = [model for model in listed() if model.method == settings.method and model.id not in HELPERS]
    return sorted(found, key=lambda model: not model.downloaded)


def listed() -> list[Model]:
    """What the models page shows: what this engine can use and what is allowed; the user's own in any case."""
    models = library.catalogue.models.values()
    return [model for model in models if (model.runs or model.own) and model.allowed]


def hidden_count() -> int:
    """How many models the rule on commercial use keeps from the list."""
    return sum(model.runs and not model.allowed for model in library.catalogue.models.values())


def needs_full_engine() -> bool:
    """The engine is there, and has no PyTorch."""
    if session.engine.state != "ready":
        return False
    if library.catalogue.status == "known":
        return "PyTorch" in library.catalogue.missing
    return not session.engine.is_own and session.engine.profile == "classic"


def obstacle(settings: THREER_PG_settings) -> str:
    """Why a job with the method cannot start, as far as is known; "" when nothing stands in the way."""
    picked = pick(settings)
    if picked is not None and not picked.method:
        return f"{picked.why} {picked.hint}".strip()
    if not needs_model(settings):
        return ""
    if needs_full_engine():
        return f"{iface_(NEEDS_FULL)} {iface_('Install it, or choose the method Classic.')}"
    catalogue = library.catalogue
    if catalogue.status != "known":
        return ""  # the engine will say
    id_ = model_id(settings)
    model = catalogue.models.get(id_)
    if model is None:
        return iface_("There is no model {} on this machine's list: choose another one").format(id_)
    if not model.allowed:
        return iface_(FORBIDDEN)
    if not model.downloaded:
        return iface_("The weights of {} are not on this machine: download them first").format(model.title)
    return ""


def network_settings(settings: THREER_PG_settings) -> dict[str, Any]:
    """What a request says of model, device, memory and the method's own options; {} for the method Classic."""
    if not needs_model(settings) and settings.method != AUTO:
        return {}
    device = f"cuda:{settings.card}" if settings.device == "cuda" and settings.card else settings.device
    values: dict[str, Any] = {}
    if needs_model(settings):
        values = {"model": model_id(settings), "device": device, "precision": settings.precision}
    else:  # only what differs: it is to count for Classic as little as possible
        named = {"device": device, "precision": settings.precision}
        values = {name: value for name, value in named.items() if value != "auto"}
    if settings.use_memory_limit:
        values["memory_gb"] = round(settings.memory_gb, 2)
    if settings.allow_smaller:
        values["allow_smaller"] = True
    return values | _method_settings(settings)


def _method_settings(settings: THREER_PG_settings) -> dict[str, Any]:
    """Options that only one method has, where they differ from its own choice."""
    values: dict[str, Any] = {}
    if settings.method in ("streaming", AUTO) and settings.every > 1:
        values["every"] = settings.every
    if settings.method in ("multiview", AUTO) and settings.chunk_size:
        values["chunk_size"] = settings.chunk_size
    if settings.refine and can_refine(settings):
        values["refine"] = True
        if settings.hold_scale and settings.dense:
            values["depth_prior"] = "model"
    return values


def can_refine(settings: THREER_PG_settings) -> bool:
    """A network's cameras of footage can be adjusted to points that are followed through it."""
    return settings.info_kind in ("movie", "sequence") and (needs_model(settings) or settings.method == AUTO)


def estimate_key(settings: THREER_PG_settings) -> tuple[Any, ...]:
    """Equal as long as an estimate holds; made at every drawing, so without a look at the disk."""
    footage = settings.source, settings.info_kind, settings.info_used, settings.info_width, settings.info_height
    lens = settings.focal_known != "NO"
    return *footage, settings.method, settings.quality, settings.dense, lens, *network_settings(settings).items()


def wish_estimate(scene: bpy.types.Scene) -> None:
    """Have the engine asked what a job with the scene's settings would need, when they settle. Called while drawing."""
    library.wish_estimate(estimate_key(scene.threer), scene)
