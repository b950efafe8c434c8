"""What the interface says can be translated: Blender's own extraction finds it, and the German words fit it."""

from __future__ import annotations

import ast
import string
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import extension
import pytest

from blender_3r import registration, translations

try:
    from bl_i18n_utils import bl_extract_messages, settings, utils
except ImportError:  # its name from Blender 5.0 on
    from _bl_i18n_utils import bl_extract_messages, settings, utils

PACKAGE = extension.ROOT / "blender_3r"
DEFAULT, BUTTON = translations.DEFAULT, translations.BUTTON


@pytest.fixture(scope="module")
def extracted():
    """(context, words) of everything that Blender's extraction for translators finds while the extension is on."""
    extension.switch_on()
    options = settings.I18nSettings()
    options.PRESETS_DIR = str(Path(bpy.utils.preset_paths("keyconfig")[0]).parent)
    found = utils.I18nMessages.gen_empty_messages("3r", "0", 0, time.gmtime(), settings=options)
    reports = bl_extract_messages._gen_reports(None)
    bl_extract_messages.dump_rna_messages(found.msgs, reports, options)
    files = sorted(str(path) for folder in ("panels", "operators") for path in (PACKAGE / folder).glob("*.py"))
    bl_extract_messages.dump_py_messages_from_files(found.msgs, reports, files, options)
    words = set(found.msgs)
    extension.switch_off()
    return words


@pytest.fixture
def threer():
    extension.switch_on()
    yield bpy.context.scene.threer
    extension.switch_off()


@pytest.fixture(scope="module")
def constants():
    """Every string of the sources."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py") if path.stem != "translations"
    ]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_labels_and_tool_tips_of_all_classes_are_extracted(extracted):
    missing = []
    for cls in registration.CLASSES:
        is_operator = issubclass(cls, bpy.types.Operator)
        if issubclass(cls, bpy.types.Panel | bpy.types.Menu | bpy.types.Operator):
            missing += [(BUTTON if is_operator else DEFAULT, cls.bl_label)]
        if is_operator:
            missing += [(DEFAULT, cls.__doc__.strip())]
    assert [key for key in missing if key not in extracted] == []
    assert len(missing) > 80


def test_names_and_descriptions_of_all_settings_are_extracted(extracted, threer):
    wanted = []
    for group in (threer, threer.surfaces):
        for item in group.bl_rna.properties:
            if not item.is_hidden and item.type != "COLLECTION" and item.identifier not in ("rna_type", "name"):
                wanted += [item.name, item.description]
                if item.type == "ENUM":
                    wanted += [part for choice in item.enum_items for part in (choice.name, choice.description)]
    assert [words for words in wanted if words and (DEFAULT, words) not in extracted] == []
    assert len(wanted) > 150


def test_main_panels_sentences_are_extracted(extracted):
    for words in (
        "{} of {} frames solved",
        "{} of {} cameras found",
        "What was computed is kept. Reconstruct goes on from there.",
    ):
        assert (DEFAULT, words) in extracted
    for words in ("Retry", "Import Reconstruction...", "Job Folder"):
        assert (BUTTON, words) in extracted


def test_german_translates_what_is_there_in_its_context(extracted, constants):
    stale = [
        (context, words)
        for context, words in translations.MESSAGES
        if (context, words) not in extracted and (context == BUTTON or words not in constants)
    ]
    assert stale == []


def test_german_keeps_the_places_of_numbers_and_names():
    def places(words):
        return sorted((name, form) for _, name, form, _ in string.Formatter().parse(words) if name is not None)

    for (_, english), german in translations.MESSAGES.items():
        assert places(english) == places(german), english
        assert english.endswith(".") == german.endswith("."), english


def test_german_covers_the_tab(threer):
    """The settings of the tab, of which new ones may wait for their words, and the buttons that every artist meets."""
    shown = [
        item for item in threer.bl_rna.properties if not item.is_hidden and item.type not in ("COLLECTION", "POINTER")
    ]
    labels = {item.name for item in shown} - {"Name"}
    left = {label for label in labels if (DEFAULT, label) not in translations.MESSAGES}
    assert len(left) < 0.1 * len(labels), left
    assert len(labels) > 25
    for words in ("Reconstruct", "Cancel", "Retry", "Import Reconstruction...", "Install Engine"):
        assert (BUTTON, words) in translations.MESSAGES


def test_words_are_handed_to_blender_and_taken_back(monkeypatch):
    """The Blender module is built without languages, so a stand-in takes the words."""
    known = {}
    words = SimpleNamespace(register=known.__setitem__, unregister=known.pop)
    monkeypatch.setattr(translations, "bpy", SimpleNamespace(app=SimpleNamespace(translations=words)))
    extension.switch_on()
    assert known["blender_3r"]["de_DE"][BUTTON, "Reconstruct"] == "Rekonstruieren"
    extension.switch_off()
    assert known == {}
