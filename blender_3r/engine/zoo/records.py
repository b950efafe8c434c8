"""Which weights exist: records in TOML files that a person can read and extend. Standard library only.

A file holds any number of records:

    [common]                        # optional: what all records of the file share
    license = "CC BY-NC-SA 4.0"

    [[models]]
    id = "dust3r-512-dpt"           # small letters, digits, ".", "_", "-"
    title = "DUSt3R 512, DPT head"
    architecture = "dust3r"         # a name of engine.models; "" = listed, but this engine cannot run it
    config = { head_type = "dpt" }  # for the architecture's config class; left out = read from the checkpoint
    files = [{ repo = "owner/name", file = "model.safetensors" }]

A file of `files` is one of: `repo` and `file` (and `revision`) on the Hugging Face hub; `url` (and `file`, the name to
keep it under, where the address ends in no name); `path` (a file of this machine, relative to the TOML). `role` is
"weights" if not said. `sha256` and `bytes` are checked where given. An address must be https, except on this machine.
The other fields are those of Record. Own files go into the folder "records" of the zoo's home, or into the folders
named by BLENDER_3R_RECORDS; a record of the same id replaces ours.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import EngineError
from .addresses import is_begin
from .places import record_folders

PUBLISHED = Path(__file__).parent / "published"
ROLES = ("weights", "codebook")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class WeightFile:
    """A file of a weight set: on the hub (repo, file, revision), at a url, or on this machine (path).

    sha256, bytes: what the file must have, where the record says so ("" and 0 = not known beforehand).
    """

    role: str = "weights"
    repo: str = ""
    file: str = ""
    revision: str = "main"
    url: str = ""
    path: str = ""
    sha256: str = ""
    bytes: int = 0

    @property
    def name(self) -> str:
        """The file's own name."""
        if self.file:
            return PurePosixPath(self.file).name
        return PurePosixPath(unquote(urlsplit(self.url).path)).name if self.url else Path(self.path).name

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        return f"huggingface.co/{self.repo}/{self.file}" if self.repo else self.url or self.path


@dataclass(frozen=True)
class Record:
    """One published weight set.

    method: the engine's method that runs it. architecture, config: see engine.models; config None = read from the
    checkpoint. parameters: every tensor once. download_bytes, memory_bytes: of all files, and for one pair at
    image_size in float32; *_is_estimate says that a number was computed, not measured. 0 = not known.
    image_size: the long side the network was trained for, in pixels. good_for: when to choose it, a few words for the
    user. paper, license_url: web pages.
    same_as: the same weights elsewhere. needs: ids of records that this one is of no use without.
    origin: the TOML file.
    """

    id: str
    title: str
    files: tuple[WeightFile, ...]
    architecture: str = ""
    method: str = ""
    config: dict[str, Any] | None = None
    license: str = "not stated"
    license_url: str = ""
    commercial_use: bool = False
    parameters: int = 0
    download_bytes: int = 0
    download_is_estimate: bool = False
    memory_bytes: int = 0
    memory_is_estimate: bool = False
    image_size: int = 0
    paper: str = ""
    good_for: str = ""
    notes: str = ""
    same_as: str = ""
    needs: tuple[str, ...] = ()
    origin: str = field(default="", compare=False)

    @property
    def is_usable(self) -> bool:
        """Whether this engine has a network for it."""
        return bool(self.architecture)

    @property
    def source(self) -> str:
        """Where the weights come from, for people."""
        return self.file().source

    def file(self, role: str = "weights") -> WeightFile:
        """Raises EngineError("usage") when there is none of this role."""
        for one in self.files:
            if one.role == role:
                return one
        raise EngineError("usage", f"{self.title} has no file {role!r}.")


def load_records(problems: list[str] | None = None) -> dict[str, Record]:
    """All records by id, ours first, then the user's own.

    problems: gets a sentence for every file of the user's that cannot be read; such files are left out.
    """
    records: dict[str, Record] = {}
    for path in sorted(PUBLISHED.glob("*.toml")):
        records.update(read_records(path))
    for folder in record_folders():
        for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
            try:
                records.update(read_records(path))
            except EngineError as error:
                if problems is not None:
                    problems.append(error.message)
    return records


def find_record(id_: str) -> Record:
    """Raises EngineError("usage") for an id that no record has, naming those that are near."""
    problems: list[str] = []
    records = load_records(problems)
    if id_ in records:
        return records[id_]
    known = ", ".join(sorted(records))
    hint = " ".join([f"Known are: {known}.", *problems])
    raise EngineError("usage", f"There is no model {id_!r}.", hint)


def read_records(path: Path) -> dict[str, Record]:
    """The records of one TOML file. Raises EngineError("input") that names the file and what is wrong in it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # tomllib's error and UnicodeDecodeError are ValueErrors
        raise EngineError("input", f"{path} cannot be read ({error}).", "Correct the file or remove it.") from error
    models = data.get("models")
    common = data.get("common", {})
    if not isinstance(models, list) or not isinstance(common, dict):
        raise EngineError("input", f"{path} holds no [[models]].", "Correct the file or remove it.")
    records: dict[str, Record] = {}
    for number, model in enumerate(models, start=1):
        try:
            record = _record({**common, **model}, path)
            if record.id in records:
                raise ValueError(f"id {record.id!r} occurs twice")
        except (TypeError, ValueError) as error:
            text = f"Record {number} of {path} is wrong: {error}."
            raise EngineError("input", text, "Correct the file or remove it.") from error
        records[record.id] = record
    return records


# -- inside


def _record(data: Mapping[str, Any], path: Path) -> Record:
    values = _checked(Record, data, ("id", "title", "files"))
    if not _ID.fullmatch(values["id"]):
        raise ValueError(f"id {values['id']!r} has other letters than a-z, 0-9, '.', '_', '-'")
    values["files"] = tuple(_weight_file(file, path) for file in values["files"])
    roles = [file.role for file in values["files"]]
    if "weights" not in roles or len(set(roles)) != len(roles):
        raise ValueError("files must hold one file of the role 'weights', and none of a role twice")
    return Record(**{**values, "needs": tuple(values.get("needs", ())), "origin": str(path)})


def _weight_file(data: Any, path: Path) -> WeightFile:
    if not isinstance(data, dict):
        raise TypeError("files must be a list of tables")
    file = WeightFile(**_checked(WeightFile, data, ()))
    places = [bool(file.repo), bool(file.url), bool(file.path)]
    if sum(places) != 1:
        raise ValueError("a file needs one of: repo and file, url, path")
    if file.role not in ROLES:
        raise ValueError(f"role {file.role!r} is none of {', '.join(ROLES)}")
    if file.repo and not (_REPO.fullmatch(file.repo) and _is_inside(file.file) and _is_inside(file.revision)):
        raise ValueError(f"repo {file.repo!r}, file {file.file!r}, revision {file.revision!r} name no file of the hub")
    if file.url and not is_begin(file.url):
        raise ValueError(f"url {file.url!r} must begin with https:// (http:// on this machine only)")
    if file.url and not _is_inside(file.name):
        raise ValueError(f"url {file.url!r} names no file: say in `file` under which name it is kept")
    if file.sha256 and not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
        raise ValueError(f"sha256 {file.sha256!r} must be 64 hexadecimal digits in small letters")
    if file.path:
        file = WeightFile(role=file.role, path=str(path.parent / Path(file.path).expanduser()), sha256=file.sha256)
    return file


def _is_inside(name: str) -> bool:
    """A relative path that stays where it begins, on every system."""
    parts = re.split(r"[/\\]", name)
    return bool(name) and not any(part in ("", ".", "..") for part in parts) and ":" not in name


def _checked(cls: type, data: Mapping[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    """The values of data for a dataclass, of the right types. Raises TypeError or ValueError."""
    known = {entry.name: str(entry.type) for entry in fields(cls) if entry.name != "origin"}
    for name, value in data.items():
        if name not in known:
            raise ValueError(f"there is no field {name!r}")
        wanted = known[name].split("[")[0].split(" |")[0]
        kinds = {"str": str, "int": int, "bool": bool, "dict": dict, "tuple": list}
        if not isinstance(value, kinds[wanted]) or (wanted == "int" and (isinstance(value, bool) or value < 0)):
            raise TypeError(f"{name} = {value!r} is not of the right type")
    for name in required:
        if not data.get(name):
            raise ValueError(f"{name} is missing")
    return dict(data)
