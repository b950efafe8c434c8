"""German: labels and sentences of what is done with a result."""

from __future__ import annotations

WORDS = {
    # points
    "Crop": "Ausschnitt",
    "Crop Box": "Ausschnitt-Kasten",
    "Density": "Dichte",
    "Display": "Anzeige",
    "Frame Offset": "Bildversatz",
    "Hide Edges": "Ohne Kanten",
    "Hide Sky": "Ohne Himmel",
    "Invert Crop": "Ausschnitt umkehren",
    "Lit": "Beleuchtet",
    "Look": "Aussehen",
    "Max Depth": "Größte Tiefe",
    "Min Views": "Mindestens Ansichten",
    "Point Size": "Punktgröße",
    "Trail": "Spur",
    "Only": "Nur",
    "Toggle": "Umschalten",
    "{}: Turn into {}": "{}: in {} wandeln",
    "Show Colors": "Farben zeigen",
    "Needs Blender 5.1 or newer": "Braucht Blender 5.1 oder neuer",
    "Select imported points, or anything of their reconstruction": (
        "Wähle importierte Punkte oder etwas von ihrer Rekonstruktion aus"
    ),
    "Select anything of an imported reconstruction": "Wähle etwas von einer importierten Rekonstruktion aus",
    "These points do not know their views. Import the reconstruction again.": (
        "Diese Punkte kennen ihre Ansichten nicht. Importiere die Rekonstruktion noch einmal."
    ),
    "Switch to Object Mode or to Edit Mode first": "Wechsle zuerst in den Objekt- oder Bearbeitungsmodus",
    # surfaces
    "As Filmed": "Wie gefilmt",
    "Catcher": "Fänger",
    "Some": "Einige",
    "Cut Angle": "Schnittwinkel",
    "Texture": "Textur",
    "Vertices": "Vertices",
    "Which": "Welche",
    "Include What Moves": "Mit Bewegtem",
    "There is no surface yet": "Es gibt noch keine Fläche",
    "There are no cameras of photos in this scene": "In dieser Szene sind keine Kameras von Fotos",
    # orient, shot
    "Axis": "Achse",
    "Flip": "Umdrehen",
    "Length": "Länge",
    "Floor": "Boden",
    "Orient and Scale": "Ausrichten und skalieren",
    "Set {} Axis": "{}-Achse setzen",
    "Scene": "Szene",
    "Shot": "Aufnahme",
    "Shadows": "Schatten",
    "Compositor": "Compositor",
    "EXR Files": "EXR-Dateien",
    "Empty: the mask of the reconstruction": "Leer: die Maske der Rekonstruktion",
    "Distort Render": "Rendering verzerren",
    "Undistort Plate": "Hintergrund entzerren",
    "Plate behind Camera": "Hintergrund hinter der Kamera",
    "In Front": "Vorne",
    "Nothing Else": "Sonst nichts",
    "What Is Nearer": "Was näher ist",
    "Replace Compositor": "Compositor ersetzen",
    "Review Movie": "Film zum Ansehen",
    "Test Cube": "Testwürfel",
    "The scene has no camera": "Die Szene hat keine Kamera",
    "Select points in Edit Mode, or empties put on points.": (
        "Wähle Punkte im Bearbeitungsmodus aus, oder Leerobjekte auf Punkten."
    ),
    # report, export
    "Select tracks. The solved camera places them.": "Wähle Spuren aus. Die gelöste Kamera stellt sie an ihren Ort.",
    "Tracks": "Spuren",
    "This picture is not in the file any more: make the report again": (
        "Dieses Bild ist nicht mehr in der Datei: Mache den Bericht neu"
    ),
    "Writes a folder": "Schreibt einen Ordner",
    "Format": "Format",
    "All Frames": "Alle Bilder",
    "All Points": "Alle Punkte",
    "Current Frame": "Aktuelles Bild",
    "Depth as Arrays": "Tiefe als Arrays",
    "Depth as EXR": "Tiefe als EXR",
    "Depth as PNG": "Tiefe als PNG",
    "Masks of What Moves": "Masken von Bewegtem",
    "Nuke Camera": "Nuke-Kamera",
    "Nulls": "Nullobjekte",
    "PLY per Frame": "PLY je Bild",
    "Poses as Text": "Posen als Text",
    "Surface per View": "Fläche je Ansicht",
    "Undistorted": "Entzerrt",
    "Undistorted Plates": "Entzerrte Bilder",
    "glTF, animated": "glTF, animiert",
    # what operators report
    "Floor of 3 points, turned by {:.1f} degrees.": "Boden aus 3 Punkten, um {:.1f} Grad gedreht.",
    "Floor of {} points, turned by {:.1f} degrees, {:.3g} off on average.": (
        "Boden aus {} Punkten, um {:.1f} Grad gedreht, im Mittel {:.3g} daneben."
    ),
    "Scaled by {:.4g}.": "Um {:.4g} skaliert.",
    "The origin is the middle of {} points.": "Der Ursprung ist die Mitte von {} Punkten.",
    "The origin is the selected point.": "Der Ursprung ist der ausgewählte Punkt.",
    "The points have no view {!r}. Choose one of the list.": (
        "Die Punkte haben keine Ansicht {!r}. Wähle eine der Liste."
    ),
    "The {} axis runs along the two points.": "Die {}-Achse läuft durch die zwei Punkte.",
}
