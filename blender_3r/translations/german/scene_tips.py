"""German: tool tips of what is done with a result, and what the entries of its menus mean."""

from __future__ import annotations

TIPS = {
    # photos
    "How many photos to go on; negative goes back": "Wie viele Fotos weiter; negativ geht zurück",
    # points
    "1: dots just close the surface, seen from where they were filmed": "1: Die Punkte schließen gerade die Fläche, "
    "von dort gesehen, wo sie gefilmt wurden",
    "Add a box around the points; move, turn and scale it, and only the points inside it show": "Legt einen Kasten um "
    "die Punkte; verschiebe, drehe und skaliere ihn: Nur Punkte darin sind zu sehen",
    "Also show the points of that many frames before": "Auch die Punkte von so vielen Bildern davor zeigen",
    "Draw the points straight from the graphics card's memory: in their colours in Solid too, and fast enough to play "
    "points that move. Renders do not change; viewport renders and clicks in the view leave the points out": "Zeichnet "
    "die Punkte direkt aus dem Speicher der Grafikkarte: auch in Solid in ihren Farben, und schnell genug, um bewegte "
    "Punkte abzuspielen. Gerendertes ändert sich nicht; gerenderte Ansichten und Klicks in die Ansicht lassen die "
    "Punkte aus",
    "Hide points further than this from their camera. 0: no limit": "Verbirgt Punkte, die weiter von ihrer Kamera weg "
    "sind. 0: keine Grenze",
    "Hide points less certain than this": "Verbirgt Punkte, die unsicherer sind",
    "Hide points on which fewer views agree, where that is known": "Verbirgt Punkte, in denen weniger Ansichten "
    "übereinstimmen, wo das bekannt ist",
    "Hide points that float between a thing and what lies behind it. 0: none, 0.5: where the depth jumps by 5 %": (
        "Verbirgt Punkte, die zwischen einem Ding und dem dahinter schweben. 0: keine, 0,5: wo die Tiefe um 5 % springt"
    ),
    "Hide points that were taken for sky": "Verbirgt Punkte, die für Himmel gehalten wurden",
    "Hide the points of all views": "Verbirgt die Punkte aller Ansichten",
    "Its space from -1 to 1 on each axis is kept: an empty drawn as a cube": "Sein Raum von -1 bis 1 auf jeder Achse "
    "bleibt: ein als Würfel gezeichnetes Leerobjekt",
    "Keep the points as a mesh, which every Blender can open, or as a point cloud, which is edited as such": (
        "Hält die Punkte als Mesh, das jedes Blender öffnen kann, oder als Punktwolke, die als solche bearbeitet wird"
    ),
    "Knows which views are hidden; see Points in the 3R tab": "Weiß, welche Ansichten verborgen sind; siehe Punkte im "
    "Reiter 3R",
    "Let the scene's lights shade the points, instead of showing their colours as filmed": "Die Lichter der Szene "
    "beleuchten die Punkte, statt dass sie ihre gefilmten Farben zeigen",
    "List the views, to show or hide the points of each": "Listet die Ansichten auf, um die Punkte einzelner zu "
    "zeigen oder zu verbergen",
    "Name of the view, for Only and Toggle": "Name der Ansicht, für Nur und Umschalten",
    "Show only the points inside the crop box": "Nur die Punkte im Ausschnitt zeigen",
    "Show only the points outside the crop box": "Nur die Punkte außerhalb des Ausschnitts zeigen",
    "Show or hide the points of this view": "Zeigt oder verbirgt die Punkte dieser Ansicht",
    "Show or hide the points of views; no point is lost": "Zeigt oder verbirgt die Punkte von Ansichten; kein Punkt "
    "geht verloren",
    "Show the points of all views": "Zeigt die Punkte aller Ansichten",
    "Show the points of this view and of no other": "Zeigt die Punkte dieser Ansicht und keiner anderen",
    "Show the points that many frames later; negative: earlier": "Die Punkte so viele Bilder später zeigen; negativ: "
    "früher",
    "Show this share of the points, picked at random, larger": "Diesen Anteil der Punkte zeigen, zufällig gewählt, "
    "größer",
    "Show what is hidden and hide what shows": "Zeigt Verborgenes und verbirgt Gezeigtes",
    "Switch this 3D view to Material Preview: Solid draws point clouds gray": "Schaltet diese 3D-Ansicht auf "
    "Materialvorschau: Solid zeichnet Punktwolken grau",
    "What the points' colours show": "Was die Farben der Punkte zeigen",
    # surfaces
    "A few views, evenly spread": "Ein paar Ansichten, gleichmäßig verteilt",
    "A picture of 2048 x 2048 pixels": "Ein Bild von 2048 x 2048 Pixeln",
    "A picture of 4096 x 4096 pixels": "Ein Bild von 4096 x 4096 Pixeln",
    "About so many vertices in all; depth maps are thinned evenly to that": "Etwa so viele Vertices insgesamt; "
    "Tiefenbilder werden gleichmäßig darauf ausgedünnt",
    "About what the depth maps show": "Etwa, was die Tiefenbilder zeigen",
    "All that the depth maps show, noise too; several times the memory and time": "Alles, was die Tiefenbilder "
    "zeigen, auch Rauschen; ein Mehrfaches an Speicher und Zeit",
    "At most so many faces; 0 keeps all": "Höchstens so viele Flächen; 0 behält alle",
    "Coarse and fast": "Grob und schnell",
    "Colours per vertex alone": "Nur Farben je Vertex",
    "Also what moves by itself, as if it stood; otherwise only the surface of a single view shows it": (
        "Auch was sich selbst bewegt, als stünde es; sonst zeigt es nur die Fläche einer einzelnen Ansicht"
    ),
    "Compose a picture for the surface from the original frames, sharper than colours per vertex": (
        "Setzt aus den Originalbildern ein Bild für die Fläche zusammen, schärfer als Farben je Vertex"
    ),
    "Cut the surface where its camera would see it at a flatter angle than this many degrees: at depth edges": (
        "Schneidet die Fläche, wo ihre Kamera sie flacher als so viele Grad sähe: an Tiefenkanten"
    ),
    "Every view that has depth": "Jede Ansicht mit Tiefe",
    "Fuse the depth of all views into one surface, in the background": "Verschmilzt die Tiefe aller Ansichten zu "
    "einer Fläche, im Hintergrund",
    "How many views": "Wie viele Ansichten",
    "How small the parts are that the surface is made of, measured in pixels of the depth maps": "Wie klein die Teile "
    "der Fläche sind, in Pixeln der Tiefenbilder",
    "How surfaces are made": "Wie Flächen entstehen",
    "Leave out depth that is less certain": "Tiefe weglassen, die unsicherer ist",
    "Leave out less certain depth": "Unsicherere Tiefe weglassen",
    "Make a surface of each view's depth, cut at depth edges, with the view's own frame on it": "Erzeugt aus der "
    "Tiefe jeder Ansicht eine Fläche, an Tiefenkanten geschnitten, mit dem Bild der Ansicht darauf",
    "Set the size of the parts yourself": "Die Größe der Teile selbst festlegen",
    "Shadow catcher: invisible but for the shadows of other objects (Cycles)": "Schattenfänger: unsichtbar bis auf "
    "die Schatten anderer Objekte (Cycles)",
    "Show the surfaces of this reconstruction like that: the selected ones, or all if none is selected": (
        "Zeigt die Flächen dieser Rekonstruktion so: die ausgewählten, oder alle, wenn keine ausgewählt ist"
    ),
    "Size of the parts the surface is made of, in the reconstruction's own units (before the root empty scales it)": (
        "Größe der Teile der Fläche, in Einheiten der Rekonstruktion (bevor das Wurzel-Leerobjekt sie skaliert)"
    ),
    "The colours of the footage, lit by the scene's lights": "Die Farben des Materials, von den Lichtern der Szene "
    "beleuchtet",
    "The colours of the footage, whatever light there is": "Die Farben des Materials, bei jedem Licht",
    "The view nearest to the current frame; of photos, that of the scene's camera": "Die Ansicht, die dem aktuellen "
    "Bild am nächsten ist; bei Fotos die der Szenenkamera",
    "Which views get a surface of their own": "Welche Ansichten eine eigene Fläche bekommen",
    # orient and scale
    "Green axis": "Grüne Achse",
    "Make the selected points the floor: three or more, of which strays are left out from six on": (
        "Macht die ausgewählten Punkte zum Boden: drei oder mehr; ab sechs werden Ausreißer weggelassen"
    ),
    "Put the world's origin on the selected point, or in the middle of several": "Setzt den Ursprung der Welt auf den "
    "ausgewählten Punkt oder in die Mitte mehrerer",
    "Red axis": "Rote Achse",
    "Scale the reconstruction so that the selected object, or what lies between the selected points, is that high": (
        "Skaliert die Rekonstruktion so, dass das ausgewählte Objekt oder das zwischen den ausgewählten Punkten "
        "Liegende so hoch ist"
    ),
    "Scale the reconstruction so that two selected points are that far apart": "Skaliert die Rekonstruktion so, dass "
    "zwei ausgewählte Punkte so weit auseinander liegen",
    "Stand the reconstruction as the import guessed, from the cameras and the largest level plane": (
        "Stellt die Rekonstruktion so hin, wie der Import es aus Kameras und größter waagerechter Ebene schloss"
    ),
    "The other way round": "Andersherum",
    "Turn about the vertical so that an axis runs from the first of two selected points to the second": (
        "Dreht um die Senkrechte, so dass eine Achse vom ersten von zwei ausgewählten Punkten zum zweiten läuft"
    ),
    # shot
    "A cube with wire on the floor, and light where there is none": "Ein Würfel mit Drahtgitter auf dem Boden, und "
    "Licht, wo keines ist",
    "A folder for EXR files of result, render and shadows at every render; empty: none": "Ein Ordner für EXR-Dateien "
    "von Ergebnis, Rendering und Schatten bei jedem Rendern; leer: keiner",
    "A mask of the Movie Clip Editor; empty: the reconstruction's own": "Eine Maske des Filmclip-Editors; leer: die "
    "der Rekonstruktion",
    "A plane where the floor is catches the shadows (Cycles)": "Eine Ebene, wo der Boden ist, fängt die Schatten "
    "(Cycles)",
    "Also where the scene has a compositor that you built": "Auch wo die Szene einen Compositor hat, den du gebaut "
    "hast",
    "An MP4 movie of the frames, too": "Auch ein MP4-Film der Bilder",
    "By the depth of the footage; press Load Depth Sequence in Export first": "Nach der Tiefe des Materials; drücke "
    "zuerst Tiefenfolge laden unter Exportieren",
    "Give the scene the footage's resolution, pixel aspect, frame rate, frame range and colours (view transform "
    "Standard), and make the camera active": "Gibt der Szene Auflösung, Pixelverhältnis, Bildrate, Bildbereich und "
    "Farben des Materials (Ansichtstransformation Standard) und macht die Kamera aktiv",
    "Make the scene ready to render over the footage: size and colours, plate, floor, test cube, compositor": (
        "Macht die Szene bereit, über dem Material zu rendern: Größe und Farben, Hintergrund, Boden, Testwürfel, "
        "Compositor"
    ),
    "Nothing catches shadows": "Nichts fängt Schatten",
    "Put plate, shadows and render together by nodes": "Fügt Hintergrund, Schatten und Rendering durch Nodes zusammen",
    "Render the scene to EXR files and a review movie in the background, as it is now": "Rendert die Szene, wie sie "
    "jetzt ist, im Hintergrund in EXR-Dateien und einen Film zum Ansehen",
    "Size, frame rate, frame range and plain colours of the footage": "Größe, Bildrate, Bildbereich und unveränderte "
    "Farben des Materials",
    "The fused surface catches the shadows (Cycles)": "Die verschmolzene Fläche fängt die Schatten (Cycles)",
    "The plate is undistorted by the engine and lies under the render": "Der Hintergrund wird von der Engine entzerrt "
    "und liegt unter dem Rendering",
    "The render is distorted like the footage and lies over it as it was filmed": "Das Rendering wird verzerrt wie "
    "das Material und liegt über dem Gefilmten",
    "The render lies over the whole plate": "Das Rendering liegt über dem ganzen Hintergrund",
    "What a mask covers; without one, what was left alone by the reconstruction's mask": "Was eine Maske bedeckt; "
    "ohne eine das, was die Maske der Rekonstruktion außen vor ließ",
    "What of the footage hides the render": "Was vom Material das Rendering verdeckt",
    "What the reconstruction knows to move by itself": "Was sich, wie die Rekonstruktion weiß, selbst bewegt",
    # report
    "Also put an empty at the solved point of each track": "Auch ein Leerobjekt an den gelösten Punkt jeder Spur "
    "setzen",
    "At most so many: the longest of every part of the picture": "Höchstens so viele: die längsten aus jedem Teil des "
    "Bildes",
    "Open this picture of the report in a window of its own": "Öffnet dieses Bild des Berichts in einem eigenen "
    "Fenster",
    "Show how good the solve is: frames solved, reprojection error, coverage, and the error of every frame": (
        "Zeigt, wie gut die Lösung ist: gelöste Bilder, Rückprojektionsfehler, Abdeckung und der Fehler jedes Bildes"
    ),
    "Show the report that was made last": "Zeigt den zuletzt gemachten Bericht",
    "Write the longest tracks of the solve into the footage's movie clip, and an empty at each one's solved point": (
        "Schreibt die längsten Spuren der Lösung in den Filmclip des Materials und setzt ein Leerobjekt an jeden "
        "gelösten Punkt"
    ),
    # export
    "A surface of each view's depth instead of points": "Eine Fläche aus der Tiefe jeder Ansicht statt Punkten",
    "After Effects script: composition, plate, camera keys, nulls at points": "After-Effects-Skript: Komposition, "
    "Hintergrund, Kameraschlüssel, Nullobjekte an Punkten",
    "Animated camera, points and surfaces; metres, y up. As it stands in the scene": "Animierte Kamera, Punkte und "
    "Flächen; Meter, y nach oben. Wie es in der Szene steht",
    "Animated camera, points and surfaces; metres, z up. As it stands in the scene": "Animierte Kamera, Punkte und "
    "Flächen; Meter, z nach oben. Wie es in der Szene steht",
    "Animated camera, points without colors, surfaces; y up. As it stands in the scene": "Animierte Kamera, Punkte "
    "ohne Farben, Flächen; y nach oben. Wie es in der Szene steht",
    "Animated camera, points, surfaces; y up. As it stands in the scene": "Animierte Kamera, Punkte, Flächen; y nach "
    "oben. Wie es in der Szene steht",
    "At most so many points; 0: all": "Höchstens so viele Punkte; 0: alle",
    "Folder with COLMAP's cameras.txt, images.txt, points3D.txt": "Ordner mit COLMAPs cameras.txt, images.txt, "
    "points3D.txt",
    "Folder with a 16-bit PNG depth (scale in depth.json) and a PNG confidence per view": "Ordner mit Tiefe als "
    "16-Bit-PNG (Maßstab in depth.json) und Sicherheit als PNG je Ansicht",
    "Folder with a 32-bit EXR depth and a PNG confidence per dense view": "Ordner mit Tiefe als 32-Bit-EXR und "
    "Sicherheit als PNG je dichter Ansicht",
    "Folder with a black and white PNG image for each frame, of the footage's size: white is what moves by itself": (
        "Ordner mit einem schwarzweißen PNG-Bild für jedes Bild, in dessen Größe: Weiß ist, was sich selbst bewegt"
    ),
    "Folder with depth and confidence per dense view as NumPy arrays": "Ordner mit Tiefe und Sicherheit je dichter "
    "Ansicht als NumPy-Arrays",
    "Folder with nerfstudio's transforms.json and sparse.ply": "Ordner mit nerfstudios transforms.json und sparse.ply",
    "Folder with poses (TUM, 4x4 matrices), focals and intrinsics as text, all as JSON": "Ordner mit Posen (TUM, "
    "4x4-Matrizen), Brennweiten und Intrinsik als Text, alles auch als JSON",
    "Folder with static.ply and, for each frame with depth, a PLY file of what moves in it": "Ordner mit static.ply "
    "und, für jedes Bild mit Tiefe, einer PLY-Datei dessen, was sich darin bewegt",
    "Folder with the frames without lens distortion, and ST-maps (EXR) that take it away and bring it back": (
        "Ordner mit den Bildern ohne Verzeichnung und ST-Maps (EXR), die sie wegnehmen und zurückbringen"
    ),
    "Folder with the solve's quality: report.json, a plot of the error per frame, a contact sheet with the points": (
        "Ordner mit der Qualität der Lösung: report.json, eine Kurve des Fehlers je Bild, eine Bildübersicht mit den "
        "Punkten"
    ),
    "Images without lens distortion, and cameras that have none": "Bilder ohne Verzeichnung, und Kameras, die keine "
    "haben",
    "Nothing that moves": "Nichts, was sich bewegt",
    "Nuke's camera file: frame, translation, rotation (order ZXY, y up), vertical angle": "Nukes Kameradatei: Bild, "
    "Verschiebung, Drehung (Reihenfolge ZXY, y nach oben), senkrechter Bildwinkel",
    "Nulls at so many solved points": "Nullobjekte an so vielen gelösten Punkten",
    "One binary PLY file: points, colours, confidence (of dense points)": "Eine binäre PLY-Datei: Punkte, Farben, "
    "Sicherheit (dichter Punkte)",
    "One binary glTF file, y up: points or a mesh, cameras as objects and as drawn frusta": "Eine binäre glTF-Datei, "
    "y nach oben: Punkte oder ein Mesh, Kameras als Objekte und als gezeichnete Pyramiden",
    "The surfaces that are in the scene, too": "Auch die Flächen, die in der Szene sind",
    "What moves, everywhere it ever is": "Was sich bewegt, überall, wo es je ist",
    "What moves, everywhere it ever is, without what stands": "Was sich bewegt, überall, wo es je ist, ohne was steht",
    "What moves, where it is at the current frame": "Was sich bewegt, wo es beim aktuellen Bild ist",
    "What of footage that moves by itself is written, beside what stands": "Was von dem geschrieben wird, was sich im "
    "Material selbst bewegt, neben dem, was steht",
    "Write all points of each frame, instead of what moves in it": "Alle Punkte jedes Bildes schreiben, statt nur was "
    "sich darin bewegt",
    "Write cameras, points, surfaces or depth of this reconstruction for another program": "Schreibt Kameras, Punkte, "
    "Flächen oder Tiefe dieser Rekonstruktion für ein anderes Programm",
    "Write depth and confidence as 32-bit EXR files and load them as image sequences, in the units of the job": (
        "Schreibt Tiefe und Sicherheit als 32-Bit-EXR-Dateien und lädt sie als Bildfolgen, in Einheiten des Auftrags"
    ),
    "Write the frames too, as trainers need them": "Auch die Bilder schreiben, wie Trainingsprogramme sie brauchen",
}
