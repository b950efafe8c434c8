"""Which checkpoints exist, their licence and needs; download, verify, load.

Records can be listed and files looked up without torch and huggingface_hub; both are imported when they are needed.
"""

from .cache import ModelCache, shared_cache
from .checkpoints import Checkpoint, read_checkpoint, read_codebook
from .download import download, is_downloaded, remove, verify, weights_path
from .loading import load_codebook, load_model, load_model_file
from .places import zoo_home
from .records import Record, WeightFile, find_record, load_records, read_records
from .verify import Damaged, Verdict, verify_file

__all__ = [
    "Checkpoint",
    "Damaged",
    "ModelCache",
    "Record",
    "Verdict",
    "WeightFile",
    "download",
    "find_record",
    "is_downloaded",
    "load_codebook",
    "load_model",
    "load_model_file",
    "load_records",
    "read_checkpoint",
    "read_codebook",
    "read_records",
    "remove",
    "shared_cache",
    "verify",
    "verify_file",
    "weights_path",
    "zoo_home",
]
