"""What the interface says, in other languages than English.

Blender looks up labels, tool tips and menu entries by itself; panels look up sentences that they put together. Keys are
the English words. Contexts are those of Blender's own extraction: "Operator" for the labels of buttons, "*" for all
else. What is not listed stays English, as do sentences with numbers that the engine makes.
"""

from __future__ import annotations

import bpy

_GERMAN_BUTTONS = {
    "Add Checkpoint...": "Checkpoint hinzufügen...",
    "Add Crop Box": "Ausschnitt hinzufügen",
    "Add Reconstruction Preset": "Vorgabe hinzufügen",
    "Add View Surfaces": "Flächen der Ansichten",
    "Allow Online Access": "Netzzugang erlauben",
    "Cancel": "Abbrechen",
    "Choose Views": "Ansichten wählen",
    "Download...": "Herunterladen...",
    "Export...": "Exportieren...",
    "From Folder...": "Aus Ordner...",
    "Import Here": "Hier importieren",
    "Import Reconstruction": "Rekonstruktion importieren",
    "Import Reconstruction...": "Rekonstruktion importieren...",
    "Import Surface": "Fläche importieren",
    "Import What There Is": "Vorhandenes importieren",
    "Install Engine": "Engine installieren",
    "Install Full Engine": "Volle Engine installieren",
    "Job Folder": "Auftragsordner",
    "Log": "Protokoll",
    "Make Surface": "Fläche erzeugen",
    "Next Photo": "Nächstes Foto",
    "Open Log": "Protokoll öffnen",
    "Open Preferences": "Einstellungen öffnen",
    "Pick Footage": "Filmmaterial wählen",
    "Preferences": "Einstellungen",
    "Reconstruct": "Rekonstruieren",
    "Reconstruct Footage": "Filmmaterial rekonstruieren",
    "Reconstruct Next": "Danach rekonstruieren",
    "Reconstruct This Clip": "Diesen Clip rekonstruieren",
    "Repair Engine": "Engine reparieren",
    "Retry": "Nochmal",
    "Select Crop Box": "Ausschnitt auswählen",
    "Show Colors": "Farben zeigen",
    "Use Shown Footage": "Gezeigtes Material nehmen",
}

_GERMAN = {
    # panels
    "3R": "3R",
    "Device and Memory": "Gerät und Speicher",
    "Engine": "Engine",
    "Export": "Exportieren",
    "Filter": "Filter",
    "Frames": "Bilder",
    "Lens": "Objektiv",
    "Models": "Modelle",
    "Photos": "Fotos",
    "Points": "Punkte",
    "Reconstruct Footage": "Filmmaterial rekonstruieren",
    "Reconstruct This Clip": "Diesen Clip rekonstruieren",
    "Reconstruction Presets": "Vorgaben",
    "Result": "Ergebnis",
    "Surfaces": "Flächen",
    "Views": "Ansichten",
    # footage
    "Clip": "Clip",
    "Every": "Jedes",
    "First": "Erstes",
    "Footage": "Filmmaterial",
    "Frame": "Bild",
    "Frame Range": "Bildbereich",
    "Image": "Bild",
    "Images Are": "Die Bilder sind",
    "Last": "Letztes",
    "Movie Clip": "Filmclip",
    "Movie or Images": "Film oder Bilder",
    "Movie, image or folder": "Film, Bild oder Ordner",
    "Pick One Movie per Camera": "Einen Film je Kamera wählen",
    "Sequence": "Folge",
    "Several Cameras": "Mehrere Kameras",
    "Source": "Quelle",
    "Use {}": "{} nehmen",
    "Uses {} of {}": "Benutzt {} von {}",
    "{} Movies": "{} Filme",
    "A movie file, one image of a sequence, or a folder of photos": "Eine Filmdatei, ein Bild einer Folge oder ein "
    "Ordner mit Fotos",
    "Where the footage comes from": "Woher das Filmmaterial kommt",
    "One image shows no depth by itself.": "Ein Bild allein zeigt keine Tiefe.",
    "A single frame shows no depth by itself.": "Ein Bild allein zeigt keine Tiefe.",
    "The picture is very small: expect a rough result.": "Das Bild ist sehr klein: Das Ergebnis wird grob.",
    "The frame range leaves no frames.": "Der Bildbereich lässt kein Bild übrig.",
    # method and quality
    "Auto": "Automatisch",
    "Automatic": "Automatisch",
    "Chunk Size": "Blockgröße",
    "Classic": "Klassisch",
    "Draft": "Entwurf",
    "Estimating what it needs...": "Bedarf wird geschätzt...",
    "Fine": "Fein",
    "Looking which method fits...": "Das passende Verfahren wird gesucht...",
    "Method": "Verfahren",
    "Model": "Modell",
    "Multi-View": "Viele Ansichten",
    "Normal": "Normal",
    "Pairwise": "Paarweise",
    "Quality": "Qualität",
    "Refine Cameras": "Kameras verfeinern",
    "Solve Every": "Löse jedes",
    "Streaming": "Fortlaufend",
    "How cameras and points are found": "Wie Kameras und Punkte gefunden werden",
    "How much time is spent": "Wie viel Zeit aufgewendet wird",
    "Fast: see whether the shot works at all": "Schnell: zeigt, ob die Aufnahme überhaupt taugt",
    "Good for most shots": "Gut für die meisten Aufnahmen",
    "More features and denser points, several times slower": "Mehr Merkmale und dichtere Punkte, um ein Mehrfaches "
    "langsamer",
    # device and memory
    "Apple Graphics": "Apple-Grafik",
    "Card": "Karte",
    "Device": "Gerät",
    "Gigabytes": "Gigabyte",
    "Graphics Card": "Grafikkarte",
    "Limit Memory": "Speicher begrenzen",
    "Precision": "Genauigkeit",
    "Processor": "Prozessor",
    "Shrink to Fit": "Passend verkleinern",
    # mask
    "Alpha": "Alpha",
    "Blender Mask": "Blender-Maske",
    "Images or Movie": "Bilder oder Film",
    "Invert": "Umkehren",
    "Mask": "Maske",
    "The same for all photos": "Dieselbe für alle Fotos",
    # lens
    "Fixed": "Fest",
    "Focal Length": "Brennweite",
    "Millimeters": "Millimeter",
    "Pixels": "Pixel",
    "Sensor Width": "Sensorbreite",
    "Unknown": "Unbekannt",
    "Zoom": "Zoom",
    # result
    "0: the quality decides": "0: Die Qualität entscheidet",
    "Dense Points": "Dichte Punkte",
    "Find What Moves": "Bewegtes finden",
    "Moving": "Bewegtes",
    "Match Scene": "Szene anpassen",
    "Point Budget": "Punktzahl",
    "Slideshow Camera": "Diaschau-Kamera",
    # a running job, and how it ended
    "Cancelled": "Abgebrochen",
    "Comparing views": "Ansichten werden verglichen",
    "Computing depth": "Tiefe wird berechnet",
    "Done": "Fertig",
    "Going on where it stopped": "Fortsetzung",
    "Loading the model": "Modell wird geladen",
    "Log": "Protokoll",
    "Looking at frames": "Bilder werden betrachtet",
    "Mean error {:.2f} px": "Mittlerer Fehler {:.2f} px",
    "Next: {}": "Danach: {}",
    "No news from the engine for {}. It may still be working.": "Seit {} nichts Neues von der Engine. Vielleicht "
    "arbeitet sie noch.",
    "Reading footage": "Material wird gelesen",
    "Reconstruction": "Rekonstruktion",
    "Starting the engine": "Engine startet",
    "Starting the engine again": "Engine startet neu",
    "Stopping": "Hält an",
    "Surface": "Fläche",
    "The engine stopped unexpectedly and was started again.": "Die Engine hielt unerwartet an und wurde neu gestartet.",
    "The job was started in {}, so it is not brought in here.": "Der Auftrag wurde in {} begonnen und wird deshalb "
    "hier nicht eingefügt.",
    "The job was started in {}.": "Der Auftrag wurde in {} begonnen.",
    "The reconstruction and the scene are as before.": "Rekonstruktion und Szene sind wie vorher.",
    "The result appears as soon as you are back in Object Mode.": "Das Ergebnis erscheint, sobald du wieder im "
    "Objektmodus bist.",
    "Took {}": "Dauerte {}",
    "What was computed is kept. Reconstruct goes on from there.": "Das Berechnete bleibt. Rekonstruieren macht dort "
    "weiter.",
    "a few seconds left": "noch ein paar Sekunden",
    "about {:.1f} h left": "noch etwa {:.1f} h",
    "about {} min left": "noch etwa {} min",
    "about {} s left": "noch etwa {} s",
    "{:.1f} million": "{:.1f} Millionen",
    "{} Done": "{} fertig",
    "{} Failed": "{} misslungen",
    "{} frames interpolated": "{} Bilder interpoliert",
    "{} of {} cameras found": "{} von {} Kameras gefunden",
    "{} of {} faces": "{} mit {} Flächen",
    "{} of {} frames solved": "{} von {} Bildern gelöst",
    "{} points": "{} Punkte",
    "{} so far": "bisher {}",
    # why a button cannot be pressed
    "Install the engine first": "Installiere zuerst die Engine",
    "No job is running": "Kein Auftrag läuft",
    "Open a clip in the Movie Clip Editor first": "Öffne zuerst einen Clip im Filmclip-Editor",
    "Pick footage first": "Wähle zuerst Filmmaterial",
    "Switch to Object Mode first": "Wechsle zuerst in den Objektmodus",
    "The engine is being installed": "Die Engine wird installiert",
    "The job is still running": "Der Auftrag läuft noch",
    # the engine
    "Blender is offline. Installing needs the network once.": "Blender ist offline. Die Installation braucht einmal "
    "das Netz.",
    "Engine Folder": "Ordner der Engine",
    "Engine Python": "Python der Engine",
    "Job Folder": "Auftragsordner",
    "Models Folder": "Ordner der Modelle",
    "Only Models for Commercial Use": "Nur Modelle für kommerzielle Nutzung",
    # photos, points, surfaces
    "Look Through Photos": "Durch die Fotos blicken",
    "Solid draws points gray.": "Solid zeichnet Punkte grau.",
    "{} ({} of {})": "{} ({} von {})",
    "Detail": "Feinheit",
    "Faces": "Flächenzahl",
    "Min Confidence": "Mindestsicherheit",
    "Own Voxel Size": "Eigene Voxelgröße",
    "Voxel Size": "Voxelgröße",
    # tool tips of the main buttons
    "Find the camera and the scene's points from the footage, in the background": "Findet Kamera und Punkte der Szene "
    "im Filmmaterial, im Hintergrund",
    "Find the camera and the scene's points from the clip of this editor, in the background": "Findet Kamera und "
    "Punkte der Szene im Clip dieses Editors, im Hintergrund",
    "Import the cameras and points of a reconstruction; importing it again updates them": "Importiert Kameras und "
    "Punkte einer Rekonstruktion; nochmals importiert werden sie erneuert",
    "Look through the camera of the next or previous photo; the render takes the photo's size": "Blickt durch die "
    "Kamera des nächsten oder vorigen Fotos; das Rendern übernimmt dessen Größe",
    "Pick a movie, one image of a sequence, several photos, or a folder of them": "Einen Film, ein Bild einer Folge, "
    "mehrere Fotos oder einen Ordner davon wählen",
    "Stop the running job; what was computed is kept": "Hält den laufenden Auftrag an; das Berechnete bleibt",
}

DEFAULT, BUTTON = bpy.app.translations.contexts.default, bpy.app.translations.contexts.operator_default
MESSAGES = {(BUTTON, english): word for english, word in _GERMAN_BUTTONS.items()}
MESSAGES |= {(DEFAULT, english): word for english, word in _GERMAN.items()}


def register() -> None:
    """Hand the words to Blender, whose name for German differs between versions."""
    bpy.app.translations.register(__package__, {"de_DE": MESSAGES, "de": MESSAGES})


def unregister() -> None:
    bpy.app.translations.unregister(__package__)
