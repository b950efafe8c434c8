"""Which checkpoints exist, their licence and needs; download, verify, load.

Records can be listed and files looked up without torch and huggingface_hub; both are imported when they are needed.
"""

from .cache import ModelCache, shared_cache
from .checkpoints import Checkpoint, read_checkpoint, read_codebook
from .download import begun_bytes, discard_parts, download, is_downloaded, remove, verify, weights_path
from .loading import config_beside, load_codebook, load_model, load_model_file
from .own import add_checkpoint, forget_checkpoint, is_own
from .places import zoo_home
from .policy import is_commercial_only, refuse_forbidden
from .records import Record, WeightFile, find_record, load_records, read_records
from .verify import Damaged, Verdict, verify_file

__all__ = [
    "Checkpoint",
    "Damaged",
    "ModelCache",
    "Record",
    "Verdict",
    "WeightFile",
    "add_checkpoint",
    "begun_bytes",
    "config_beside",
    "discard_parts",
    "download",
    "find_record",
    "forget_checkpoint",
    "is_commercial_only",
    "is_downloaded",
    "is_own",
    "load_codebook",
    "load_model",
    "load_model_file",
    "load_records",
    "read_checkpoint",
    "read_codebook",
    "read_records",
    "refuse_forbidden",
    "remove",
    "shared_cache",
    "verify",
    "verify_file",
    "weights_path",
    "zoo_home",
]
