"""The fake engine's models: our real records, with downloads that move no bytes. See fake_engine.py.

Modes: zoo (all goes well), zoo-plain (no PyTorch), zoo-fail (downloads end with a sentence), zoo-die (the engine dies
in mid-download), zoo-deaf (a cancel is not heard), zoo-tight (no job fits), zoo-odd (answers of wrong forms),
zoo-commercial (as with --commercial-only). Any other mode is as zoo. What is here or begun lies in the file that
FAKE_MODELS names.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

KINDS = ("models", "download", "remove", "add", "estimate", "cancel")
STEPS = 40
GB = 1_000_000_000


class FakeModels:
    def __init__(self, mode: str, seconds: float, say: Callable[..., None]) -> None:
        self.mode, self.seconds, self.say = mode, seconds, say
        self.file = Path(os.environ["FAKE_MODELS"]) if os.environ.get("FAKE_MODELS") else None
        self.cancelled: dict[str, threading.Event] = {}

    def answer(self, message: dict) -> None:
        """Take a message of KINDS; long work goes on in a thread."""
        kind, id_ = message["type"], message.get("id")
        if kind == "cancel":
            if id_ in self.cancelled and self.mode != "zoo-deaf":
                self.cancelled[id_].set()
        elif kind == "models":
            self.say("models", id=id_, **self.listed())
        elif kind == "download":
            self.cancelled[id_] = threading.Event()
            threading.Thread(target=self.download, args=(message,), daemon=True).start()
        elif kind == "remove":
            self.remove(message)
        elif kind == "add":
            self.add(message)
        else:
            self.say("estimated", id=id_, estimate=self.estimate(message))

    def listed(self) -> dict:
        from blender_3r.engine.service.models import list_models

        if self.mode == "zoo-commercial":
            os.environ["BLENDER_3R_COMMERCIAL_ONLY"] = "1"
        state, facts = self.read(), list_models()
        for model in facts["models"]:
            model["begun_bytes"] = state["begun"].get(model["id"], 0)
            model["downloaded"] = model["id"] in state["here"]
        facts["models"] += state["own"]
        facts["missing"] = ["PyTorch", "safetensors"] if self.mode == "zoo-plain" else []
        facts |= {"hub": "/home/artist/.cache/huggingface/hub", "free_bytes": 312 * GB}
        if self.mode == "zoo-odd":
            facts["models"] += [None, 5, {"id": 3, "title": "x"}, {"id": "odd", "title": "Odd", "memory_bytes": "much"}]
            facts |= {"problems": "many", "free_bytes": "plenty"}
        return facts

    def download(self, message: dict) -> None:
        id_, model = message["id"], message["model"]
        total = next((one["download_bytes"] for one in self.listed()["models"] if one["id"] == model), 0)
        done = self.read()["begun"].get(model, 0)
        while done < total:
            if self.cancelled[id_].wait(self.seconds / STEPS):
                self.keep(model, done)
                self.say("cancelled", id=id_)
                return
            done = min(total, done + total // STEPS)
            left = self.seconds * (1 - done / total)
            fields = {"done": done, "total": total, "fraction": done / total, "eta_s": left, "unit": "bytes"}
            if self.mode == "zoo-odd":
                self.say("progress", id=id_, done="some", total=None)
            self.say("progress", id=id_, stage="Downloading model.safetensors", **fields)
            if done > total // 2 and self.mode == "zoo-die":
                self.keep(model, done)
                os._exit(5)
            if done > total // 2 and self.mode == "zoo-fail":
                hint = "Check the network and its proxy settings, then try again."
                text = "model.safetensors cannot be downloaded from huggingface.co: the line broke."
                self.say("failed", id=id_, kind="machine", message=text, hint=hint)
                return
        self.write(lambda state: (state["here"].append(model), state["begun"].pop(model, None)))
        self.say("downloaded", id=id_, model=model, path="/x/model.safetensors", notes=["Its hash is right."])

    def keep(self, model: str, done: int) -> None:
        self.write(lambda state: state["begun"].update({model: done}))

    def remove(self, message: dict) -> None:
        model = message["model"]

        def change(state: dict) -> None:
            state["begun"].pop(model, None)
            if not message.get("parts"):
                state["here"] = [one for one in state["here"] if one != model]
                state["own"] = [one for one in state["own"] if one["id"] != model]

        self.write(change)
        self.say("removed", id=message["id"], model=model, freed_bytes=2_754_555_424)

    def add(self, message: dict) -> None:
        path = Path(message["path"])
        time.sleep(self.seconds)
        if path.suffix != ".safetensors":
            text = f"{path.name} fits none of the networks that this engine knows (dust3r, mast3r)."
            self.say("failed", id=message["id"], kind="input", message=text, hint="Put the config.json beside it.")
            return
        own = {"id": path.stem, "title": message["title"] or path.stem, "method": "pairwise", "own": True}
        own |= {"license": message["license"] or "not stated", "commercial_use": message["commercial_use"]}
        own |= {"downloaded": True, "runs": True, "download_bytes": 12, "image_size": 512}
        self.write(lambda state: state["own"].append(own))
        self.say("added", id=message["id"], model=path.stem)

    def estimate(self, message: dict) -> dict:
        """Of the method "auto" what our own engine chooses, on a machine with 24 GB."""
        if message["request"]["method"] != "auto":
            return self.estimate_of(message)
        from blender_3r.engine.service import auto

        names = auto.Weights.__dataclass_fields__
        listed = self.listed()
        weights = [
            auto.Weights(**{name: one[name] for name in names}) for one in listed["models"] if one.get("architecture")
        ]
        footage = auto.Footage(message["request"]["source"]["kind"], message["count"])
        known = auto.Known.from_settings(message["request"]["settings"])
        rule = self.mode == "zoo-commercial"
        machine = auto.Machine("cpu", 24 * GB)
        choice = auto.choose(footage, weights, lambda: machine, known, rule, not listed["missing"])
        if not choice.method:
            return {"fits": False, "text": choice.why, "hint": choice.hint, "choice": choice.to_json()}
        return {**self.estimate_of(message), "choice": choice.to_json()}

    def estimate_of(self, message: dict) -> dict:
        count = message["count"]
        if self.mode == "zoo-tight":
            text = f"{count} images with the scene graph complete (870 pairs) need about 19.2 GB of memory, and 8.0 GB"
            return {"fits": False, "text": f"{text} may be used.", "hint": "With this graph 19 images fit."}
        device = message["request"]["settings"].get("device", "auto")
        text = f"{count} images, 390 predicted pairs on {device}: about 4.2 GB of memory and 66 MB on disk."
        return {"fits": True, "text": text, "hint": ""}

    # -- what is here

    def read(self) -> dict:
        if self.file is None or not self.file.exists():
            return {"here": [], "begun": {}, "own": []}
        return json.loads(self.file.read_text())

    def write(self, change: Callable[[dict], object]) -> None:
        state = self.read()
        change(state)
        if self.file is not None:
            temporary = self.file.with_suffix(".new")
            temporary.write_text(json.dumps(state))
            temporary.replace(self.file)
