"""Which model a scene's settings mean, and what stands in the way of using it. Knows of bpy by its types only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..client.library import library
from ..client.model_facts import Model
from ..client.session import session

if TYPE_CHECKING:
    from ..properties import THREER_PG_settings

DEFAULTS = {"pairwise": "mast3r-512"}  # by method: what its settings without a model mean
HELPERS = ("mast3r-retrieval",)  # work beside another model, not by themselves
NEEDS_FULL = "This method needs the Full engine, which has PyTorch."
FORBIDDEN = "Only models that allow commercial use may be used here, and this one does not."


def needs_model(settings: THREER_PG_settings) -> bool:
    return settings.method in DEFAULTS


def model_id(settings: THREER_PG_settings) -> str:
    """The model that a job would use; "" for methods without one."""
    default = DEFAULTS.get(settings.method, "")
    known = library.catalogue.models.get(settings.model)
    if not settings.model or (known is not None and known.method != settings.method):
        return default
    return settings.model


def choices(settings: THREER_PG_settings) -> list[Model]:
    """Models that the method can use by themselves and that are allowed here."""
    return [model for model in listed() if model.method == settings.method and model.id not in HELPERS]


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
    if not needs_model(settings):
        return ""
    if needs_full_engine():
        return f"{NEEDS_FULL} Install it, or choose the method Classic."
    catalogue = library.catalogue
    if catalogue.status != "known":
        return ""  # the engine will say
    id_ = model_id(settings)
    model = catalogue.models.get(id_)
    if model is None:
        return f"There is no model {id_} on this machine's list: choose another one"
    if not model.allowed:
        return FORBIDDEN
    if not model.downloaded:
        return f"The weights of {model.title} are not on this machine: download them first"
    return ""


def network_settings(settings: THREER_PG_settings) -> dict[str, Any]:
    """What a request says of model, device and memory; {} for methods without a network."""
    if not needs_model(settings):
        return {}
    device = f"cuda:{settings.card}" if settings.device == "cuda" and settings.card else settings.device
    values: dict[str, Any] = {"model": model_id(settings), "device": device, "precision": settings.precision}
    if settings.use_memory_limit:
        values["memory_gb"] = round(settings.memory_gb, 2)
    if settings.allow_smaller:
        values["allow_smaller"] = True
    return values


def estimate_key(settings: THREER_PG_settings) -> tuple[Any, ...]:
    """Equal as long as an estimate holds; made at every drawing, so without a look at the disk."""
    footage = settings.info_kind, settings.info_used, settings.info_width, settings.info_height
    return *footage, settings.method, settings.dense, *network_settings(settings).items()
