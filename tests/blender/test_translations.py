"""What the interface says can be translated: Blender's own extraction finds it, and the German words fit it."""

from __future__ import annotations

import ast
import re
import string
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import extension
import pytest

from blender_3r import properties, registration, translations
from blender_3r.scene import dynamic, point_nodes
from blender_3r.translations import german

try:
    from bl_i18n_utils import bl_extract_messages, settings, utils
except ImportError:  # its name from Blender 5.0 on
    from _bl_i18n_utils import bl_extract_messages, settings, utils

PACKAGE = extension.ROOT / "blender_3r"
DEFAULT, BUTTON = translations.DEFAULT, translations.BUTTON
UNITS = {"min"}
UNNAMED = {"rna_type", "name", "filepath", "directory"}  # Blender's own, and what its file browser fills in


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
        ast.parse(path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.py")
        if "translations" not in path.parts
    ]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_labels_and_tool_tips_of_all_classes_are_extracted(extracted):
    missing = []
    for cls in registration.CLASSES:
        is_operator = issubclass(cls, bpy.types.Operator)
        if issubclass(cls, bpy.types.Panel | bpy.types.Menu | bpy.types.Operator):
            missing += [(context_of(cls), cls.bl_label)]
        if is_operator:
            missing += [(DEFAULT, cls.__doc__.strip())]
    assert [key for key in missing if key not in extracted] == []
    assert len(missing) > 80


def test_names_and_descriptions_of_all_settings_are_extracted(extracted, threer):
    wanted = []
    for group in (threer, threer.surfaces):
        for item in group.bl_rna.properties:
            if not item.is_hidden and item.type != "COLLECTION" and item.identifier not in ("rna_type", "name"):
                wanted += words_of([item])
    assert [key for key in wanted if key[1] and key not in extracted] == []
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


def test_german_translates_what_is_there_in_its_context(extracted, constants, threer):
    found = extracted | class_words()  # of choices that are put together from others
    stale = [
        (context, words)
        for context, words in translations.MESSAGES
        if (context, words) not in found and (context != DEFAULT or words not in constants)
    ]
    assert sorted(stale) == []


def test_german_keeps_the_places_of_numbers_and_names():
    def places(words):
        return sorted((name, form) for _, name, form, _ in string.Formatter().parse(words) if name is not None)

    for (_, english), other in translations.MESSAGES.items():
        assert places(english) == places(other), english
        assert english.endswith(".") == other.endswith("."), english


def test_german_is_complete(threer):
    """Labels, tool tips and menu entries of all classes, and the sentences of panels and operators."""
    own = class_words() | input_words() | python_words() | wrapped_words()
    own = {(context, words) for context, words in own if any(letter.isalpha() for letter in words)}
    known = set(translations.MESSAGES) | {(DEFAULT, words) for words in german.SAME}
    # A text given to a button is extracted for both contexts; one that is filled in is looked up as a sentence.
    known |= {(BUTTON, words) for context, words in known if context == DEFAULT and "{}" in words}
    assert sorted(own - known) == []
    assert len(own) > 500


def test_no_sentence_is_filled_in_before_it_is_translated():
    """In panels, f-strings may put together what was translated, and hold no words of their own."""
    found = []
    for path in sorted((PACKAGE / "panels").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else ()
            words = " ".join(part.value for part in parts if isinstance(part, ast.Constant))
            if set(re.findall("[A-Za-z]{3,}", words)) - UNITS:
                found.append((path.name, node.lineno, words))
    assert found == []


def test_german_knows_every_stage():
    """What the engine and its installation are doing, as the bar says it: "Solving key frames"."""
    paths = [*(PACKAGE / "engine").rglob("*.py"), *(PACKAGE / "client").glob("*.py")]
    stages = {
        words for path in paths for words in strings(path) if re.fullmatch(r"[A-Z][a-z]+ing\b[^.\n]{0,45}", words)
    }
    assert sorted(words for words in stages if (DEFAULT, words) not in translations.MESSAGES) == []
    assert len(stages) > 50


def class_words():
    """(context, words) of the labels and tool tips of every class and of its settings."""
    found = set()
    for cls in registration.CLASSES:
        is_operator = issubclass(cls, bpy.types.Operator)
        found.add((context_of(cls), getattr(cls, "bl_label", "")))
        if is_operator:
            found.add((DEFAULT, cls.__doc__.strip()))
            found |= words_of(getattr(bpy.ops.threer, cls.bl_idname.split(".")[1]).get_rna_type().properties)
        if issubclass(cls, bpy.types.AddonPreferences):
            found |= words_of(cls.bl_rna.properties[name] for name in cls.__annotations__)
    for cls in properties.classes:
        found |= words_of(cls.bl_rna.properties)
    return found


def words_of(items):
    """Names and descriptions of settings that are shown, and of their choices."""
    found = set()
    for item in items:
        if item.is_hidden or item.type == "COLLECTION" or item.identifier in UNNAMED:
            continue
        found |= {(item.translation_context, item.name), (DEFAULT, item.description)}
        for choice in item.enum_items_static if item.type == "ENUM" else ():
            found |= {(item.translation_context, choice.name), (DEFAULT, choice.description)}
    return found


def context_of(cls):
    """In which the label of a class is looked up."""
    return BUTTON if issubclass(cls, bpy.types.Operator) else getattr(cls, "bl_translation_context", DEFAULT)


def input_words():
    """Of the modifiers' inputs."""
    named = [(item.name, item.text) for item in point_nodes.INPUTS] + list(dynamic.INPUTS)
    return {(DEFAULT, words) for pair in named for words in pair}


def python_words():
    """What Blender's extraction finds in the sources, but for the pieces of f-strings."""
    options = settings.I18nSettings()
    found = utils.I18nMessages.gen_empty_messages("3r", "0", 0, time.gmtime(), settings=options)
    files = [str(path) for folder in ("panels", "operators") for path in sorted((PACKAGE / folder).glob("*.py"))]
    bl_extract_messages.dump_py_messages_from_files(found.msgs, bl_extract_messages._gen_reports(None), files, options)
    whole = {words for path in files for words in strings(Path(path))}
    return {(context, words) for context, words in found.msgs if words in whole}


def strings(path):
    """Every string of a file that is no part of an f-string."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in parts)
    return {node.value for node in constants if isinstance(node.value, str)}


def wrapped_words():
    """Sentences that panels hand to draw_wrapped, which looks them up."""
    found = set()
    for path in (PACKAGE / "panels").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name == "draw_wrapped" and isinstance(node.args[1], ast.Constant):
                    found.add((DEFAULT, node.args[1].value))
    return found


def test_words_are_handed_to_blender_and_taken_back(monkeypatch):
    """The Blender module is built without languages, so a stand-in takes the words."""
    known = {}
    words = SimpleNamespace(register=known.__setitem__, unregister=known.pop)
    monkeypatch.setattr(translations, "bpy", SimpleNamespace(app=SimpleNamespace(translations=words)))
    extension.switch_on()
    assert known["blender_3r"]["de_DE"][BUTTON, "Reconstruct"] == "Rekonstruieren"
    extension.switch_off()
    assert known == {}
