"""Where packages come from: what the user has told pip, translated for uv, which does not read pip's configuration.

What the user has told uv itself (its variables and uv.toml) goes before. Everything is handed over in environment
variables, so that passwords in addresses show neither in the log nor in the list of processes. Knows nothing of bpy.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

PLAIN = {  # pip's option to uv's variables: the one that is set, and others that say the same in the user's words
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "keyring-provider": ("UV_KEYRING_PROVIDER",),
}
LISTS = {  # options with several values: the variable, what separates them there, others that say the same
    "extra-index-url": ("UV_EXTRA_INDEX_URL", " ", "UV_INDEX"),
    "find-links": ("UV_FIND_LINKS", ",", ""),
    "trusted-host": ("UV_INSECURE_HOST", " ", ""),
}
UV_KEYS = {  # uv.toml's keys that say the same as pip's option
    "index-url": ("index-url", "default-index", "index"),
    "extra-index-url": ("extra-index-url", "index"),
    "find-links": ("find-links",),
    "trusted-host": ("allow-insecure-host",),
    "keyring-provider": ("keyring-provider",),
}


def parse_pip_config(text: str) -> dict[str, str]:
    """The output of `pip config list` as option to value: the variables before install's section before global's."""
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in text.splitlines():
            key, is_setting, quoted = line.partition("=")
            head, _, option = key.rpartition(".")
            if is_setting and head == section:
                try:
                    found[option] = str(ast.literal_eval(quoted.strip()))
                except (ValueError, SyntaxError):
                    continue
    return found


def uv_settings(pip: Mapping[str, str], environment: Mapping[str, str], uv_files: Iterable[Path]) -> dict[str, str]:
    """Variables that tell uv what pip was told. pip: see parse_pip_config. uv_files: see uv_config_files."""
    settings: dict[str, str] = {}
    own = _keys_of(uv_files)

    def is_told(option: str, *names: str) -> bool:
        return any(name in environment for name in names if name) or any(key in own for key in UV_KEYS.get(option, ()))

    for option, names in PLAIN.items():
        value = pip.get(option, "").strip()
        if value and not is_told(option, *names):
            settings[names[0]] = value
    for option, (name, separator, other) in LISTS.items():
        values = pip.get(option, "").split()
        if values and not is_told(option, name, other):
            settings[name] = separator.join(values)
    if proxy := pip.get("proxy", "").strip():
        address = proxy if "://" in proxy else f"http://{proxy}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            if name not in environment and name.lower() not in environment:
                settings[name] = address
    if pip.get("no-index", "").strip().lower() in ("1", "true", "yes", "on") and "UV_NO_INDEX" not in environment:
        settings["UV_NO_INDEX"] = "1"
    if "UV_EXTRA_INDEX_URL" in settings and "UV_INDEX_STRATEGY" not in environment and "index-strategy" not in own:
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip's own way; the hashes keep strangers' files out
    return settings


def plain_hosts(pip: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """Hosts of the user's package indexes that are asked without encryption, over a network. It is the user's choice;
    without one, pip and uv ask theirs over https.
    """
    uv = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
    told = [pip.get("index-url", ""), pip.get("extra-index-url", ""), *(environment.get(name, "") for name in uv)]
    found = re.findall(r"(?:^|[\s=])(http://\S+)", "\n".join(told), re.IGNORECASE)  # uv knows name=http://...
    return sorted({host for address in found if (host := urlsplit(address).hostname) and not _is_local(host)})


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def uv_config_files() -> list[Path]:
    """Where uv keeps the user's and the machine's settings; there or not."""
    if sys.platform == "win32":
        bases = [os.environ.get("APPDATA", ""), os.environ.get("PROGRAMDATA", "")]
    else:
        bases = [os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config"), "/etc"]
    named = os.environ.get("UV_CONFIG_FILE")
    return [Path(named)] if named else [Path(base) / "uv" / "uv.toml" for base in bases if base]


def _keys_of(files: Iterable[Path]) -> set[str]:
    keys: set[str] = set()
    for file in files:
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        keys |= set(data) | set(data.get("pip", ()))
    return keys
