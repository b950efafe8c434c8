"""German: tool tips of the way from footage to a result, and what the entries of its menus mean."""

from __future__ import annotations

TIPS = {
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
    # footage
    "A clip that is already open in the Movie Clip Editor": "Ein Clip, der schon im Filmclip-Editor offen ist",
    "A movie, an image sequence or photos on disk": "Ein Film, eine Bildfolge oder Fotos auf der Platte",
    "An image, sequence or movie that is already in this file": "Ein Bild, eine Folge oder ein Film, die schon in "
    "dieser Datei sind",
    "First frame to use; movies count from 1, sequences by the number in the file name": "Das erste benutzte Bild; "
    "Filme zählen ab 1, Folgen nach der Zahl im Dateinamen",
    "Frames of one moving camera, in the order of their numbers": "Bilder einer bewegten Kamera, in der Reihenfolge "
    "ihrer Nummern",
    "How the images belong together": "Wie die Bilder zusammengehören",
    "Last frame to use, counted like the first": "Das letzte benutzte Bild, gezählt wie das erste",
    "Numbered images without gaps are a sequence, others photos": "Lückenlos nummerierte Bilder sind eine Folge, "
    "andere Fotos",
    "One movie per camera, all of the same take": "Ein Film je Kamera, alle von derselben Aufnahme",
    "Reconstruct at once, instead of only picking the footage": "Gleich rekonstruieren, statt das Material nur zu "
    "wählen",
    "Reconstruct the dropped movie or images; several movies are the cameras of one take": "Rekonstruiert den fallen "
    "gelassenen Film oder die Bilder; mehrere Filme sind die Kameras einer Aufnahme",
    "Single pictures in any order; each gets a camera of its own": "Einzelne Bilder in beliebiger Reihenfolge; jedes "
    "bekommt eine eigene Kamera",
    "Take the picture behind the camera, or on the selected empty, as the footage": "Nimmt das Bild hinter der Kamera "
    "oder auf dem ausgewählten Leerobjekt als Material",
    "The frame taken from each movie, counted from 1": "Das Bild, das aus jedem Film genommen wird, gezählt ab 1",
    "The image, sequence or movie to reconstruct": "Das Bild, die Folge oder der Film, der rekonstruiert wird",
    "The movie clip to reconstruct": "Der Filmclip, der rekonstruiert wird",
    "Use every n-th frame; 1 uses all of them": "Jedes n-te Bild benutzen; 1 benutzt alle",
    "Use only a part of the shot": "Nur einen Teil der Aufnahme benutzen",
    # method, machine
    "16 bit on graphics cards, 32 bit on the processor": "16 Bit auf Grafikkarten, 32 Bit auf dem Prozessor",
    "A network goes through the shot frame by frame and shows what it has: long shots. Needs the Full engine and the "
    "weights of a model": "Ein Netz geht Bild für Bild durch die Aufnahme und zeigt, was es hat: lange Aufnahmen. "
    "Braucht die volle Engine und die Gewichte eines Modells",
    "A network looks at all images at once, in chunks where they are many: photo sets and short shots. Needs the "
    "Full engine and the weights of a model": "Ein Netz sieht alle Bilder auf einmal, in Blöcken, wo es viele sind: "
    "Fotos und kurze Aufnahmen. Braucht die volle Engine und die Gewichte eines Modells",
    "A network looks at pairs of images: few photos, little texture, single images. Needs the Full engine and the "
    "weights of a model, whose licence mostly rules out commercial use": "Ein Netz sieht Bilder paarweise: wenige "
    "Fotos, wenig Textur, einzelne Bilder. Braucht die volle Engine und die Gewichte eines Modells, dessen Lizenz "
    "kommerzielle Nutzung meist ausschließt",
    "Feature tracks and bundle adjustment. Works offline, on any machine, without model weights; commercial use is "
    "allowed": "Verfolgte Merkmale und Bündelausgleichung. Läuft offline, auf jedem Rechner, ohne Gewichte eines "
    "Modells; kommerzielle Nutzung ist erlaubt",
    "Follow points through the footage and adjust the network's cameras until they stick to it, and the depth to "
    "them. It takes about as long as the method Classic does for its cameras. Where too little can be followed, the "
    "network's cameras stay": "Verfolgt Punkte durch das Material und richtet die Kameras des Netzes aus, bis sie "
    "daran haften, und die Tiefe an ihnen. Das dauert etwa so lange wie die Kameras beim klassischen Verfahren. Wo "
    "zu wenig verfolgt werden kann, bleiben die Kameras des Netzes",
    "While refining, keep the scale of the shot as the network's depth has it: for footage with stretches in which few "
    "points can be followed": "Hält beim Verfeinern den Maßstab der Aufnahme so, wie ihn die Tiefe des Netzes hat: für "
    "Material mit Strecken, in denen wenige Punkte verfolgt werden können",
    "For newer graphics cards": "Für neuere Grafikkarten",
    "For older graphics cards": "Für ältere Grafikkarten",
    "How many views the network sees at once; 0: as many as memory holds": "Wie viele Ansichten das Netz auf einmal "
    "sieht; 0: so viele, wie in den Speicher passen",
    "How much memory the job may use": "Wie viel Speicher der Auftrag benutzen darf",
    "Leave memory for other programs instead of using what is free": "Anderen Programmen Speicher lassen, statt allen "
    "freien zu benutzen",
    "NVIDIA with CUDA, or AMD with ROCm": "NVIDIA mit CUDA oder AMD mit ROCm",
    "Only every n-th frame goes through the network; the camera's keys between them are interpolated": (
        "Nur jedes n-te Bild geht durch das Netz; die Kameraschlüssel dazwischen werden interpoliert"
    ),
    "Slow, but has all of the computer's memory": "Langsam, hat aber den ganzen Speicher des Rechners",
    "The engine chooses by the footage, the models on this machine, their licences and the memory, and says why": (
        "Die Engine wählt nach Material, Modellen auf diesem Rechner, deren Lizenzen und Speicher, und sagt, warum"
    ),
    "The graphics card if there is one that fits, else the processor": "Die Grafikkarte, wenn es eine passende gibt, "
    "sonst der Prozessor",
    "The graphics processor of a Mac with Apple silicon": "Der Grafikprozessor eines Macs mit Apple-Chip",
    "The kind of numbers in which the network computes; less precise ones take less memory and time": (
        "Die Art der Zahlen, mit denen das Netz rechnet; ungenauere brauchen weniger Speicher und Zeit"
    ),
    "The most precise, twice the memory": "Am genauesten, doppelter Speicher",
    "The weights the network uses; empty: the method's own choice": "Die Gewichte, die das Netz benutzt; leer: die "
    "Wahl des Verfahrens",
    "What computes the network": "Was das Netz berechnet",
    "When memory does not do, begin again with images of 224 pixels, cut square, instead of failing": (
        "Wenn der Speicher nicht reicht, mit quadratisch beschnittenen Bildern von 224 Pixeln neu beginnen, statt zu "
        "scheitern"
    ),
    "Which graphics card, counted from 0": "Welche Grafikkarte, gezählt ab 0",
    # lens
    "A focal length for each frame": "Eine Brennweite für jedes Bild",
    "Find out whether the lens zooms": "Herausfinden, ob das Objektiv zoomt",
    "Where the lens points in the picture; off the middle in cropped footage": (
        "Wohin im Bild das Objektiv zeigt; bei beschnittenem Material nicht in die Mitte"
    ),
    "Found where the footage leaves no doubt that it is not in the middle": (
        "Wird gesucht, wo das Material keinen Zweifel lässt, dass sie nicht in der Bildmitte liegt"
    ),
    "In the middle of the picture": "In der Mitte des Bildes",
    "Always found": "Wird immer gesucht",
    "Find the focal length from the footage": "Die Brennweite aus dem Material ermitteln",
    "Focal length and sensor width, as written on the lens and the camera": "Brennweite und Sensorbreite, wie sie auf "
    "Objektiv und Kamera stehen",
    "Focal length in pixels of the original footage": "Brennweite in Pixeln des Originalmaterials",
    "Focal length in pixels, from a calibration": "Brennweite in Pixeln, aus einer Kalibrierung",
    "Focal length of the lens (not the 35 mm equivalent, unless the sensor is 36 mm wide)": "Brennweite des Objektivs "
    "(nicht die auf 35 mm umgerechnete, außer der Sensor ist 36 mm breit)",
    "One focal length for the whole shot": "Eine Brennweite für die ganze Aufnahme",
    "What is known of the lens": "Was über das Objektiv bekannt ist",
    "Whether the focal length changes during the shot": "Ob sich die Brennweite während der Aufnahme ändert",
    "Width of the part of the sensor that the footage shows": "Breite des Sensorteils, den das Material zeigt",
    # mask
    "A movie, one image for all frames, one image of a numbered sequence, or a folder of images": (
        "Ein Film, ein Bild für alle, ein Bild einer nummerierten Folge oder ein Ordner mit Bildern"
    ),
    "Black is left alone, white is used": "Schwarzes bleibt außen vor, Weißes wird benutzt",
    "Drawn with its feather, animation and tracks when the job starts": "Wird mit weichem Rand, Animation und Spuren "
    "gezeichnet, wenn der Auftrag beginnt",
    "Use the whole picture": "Das ganze Bild benutzen",
    "What a mask of the Movie Clip Editor covers is left alone": "Was eine Maske des Filmclip-Editors bedeckt, bleibt "
    "außen vor",
    "What is transparent in the footage is left alone": "Was im Material durchsichtig ist, bleibt außen vor",
    "What of the picture is left alone: people, screens, a logo": "Was vom Bild außen vor bleibt: Menschen, "
    "Bildschirme, ein Logo",
    "White is left alone; numbered or named as the frames are": "Weißes bleibt außen vor; nummeriert oder benannt wie "
    "die Bilder",
    # result
    "A point cloud, which has edit and sculpt tools of its own": "Eine Punktwolke, die eigene Werkzeuge zum "
    "Bearbeiten und Formen hat",
    "About how many dense points the scene gets; 0 lets the quality decide": "Etwa wie viele dichte Punkte die Szene "
    "bekommt; 0 lässt die Qualität entscheiden",
    "All points always show": "Alle Punkte sind immer zu sehen",
    "All points show at their own frame only, so that the shot plays in 3D. The number of points is that of all "
    "frames together": "Alle Punkte sind nur bei ihrem Bild zu sehen, so dass die Aufnahme in 3D abläuft. Die "
    "Punktzahl gilt für alle Bilder zusammen",
    "Also make one camera that stands where another photo was taken at each frame, and shows it": (
        "Auch eine Kamera, die bei jedem Bild dort steht, wo ein anderes Foto entstand, und es zeigt"
    ),
    "Also measure depth and fill the scene with points": "Auch Tiefe messen und die Szene mit Punkten füllen",
    "Bring in the surface that was made before, here or by the command line; one in the scene is updated": (
        "Holt die Fläche, die früher hier oder auf der Kommandozeile entstand; eine in der Szene wird erneuert"
    ),
    "Bring what the last job computed into this scene": "Holt in diese Szene, was der letzte Auftrag berechnet hat",
    "Find what moves by itself: other frames see through the place where it is. It shows at its own frame only": (
        "Finden, was sich selbst bewegt: Andere Bilder sehen durch seinen Ort hindurch. Es ist nur bei seinem Bild zu "
        "sehen"
    ),
    "Import at most so many points; 0 for cameras only": "Höchstens so viele Punkte importieren; 0 nur für Kameras",
    "Of movies and sequences: which points show at their own frame only": "Bei Filmen und Folgen: welche Punkte nur "
    "bei ihrem Bild zu sehen sind",
    "Of photos: also one camera that stands where another photo was taken at each frame, and shows it": (
        "Bei Fotos: auch eine Kamera, die bei jedem Bild dort steht, wo ein anderes Foto entstand, und es zeigt"
    ),
    "Set resolution, frame rate and frame range of the scene, and its active camera": "Setzt Auflösung, Bildrate und "
    "Bildbereich der Szene und ihre aktive Kamera",
    "Show the footage behind the camera, and write the lens to its movie clip": "Zeigt das Material hinter der Kamera "
    "und schreibt das Objektiv in seinen Filmclip",
    "Show the footage behind the cameras": "Zeigt das Material hinter den Kameras",
    "The folder that holds cameras.json": "Der Ordner, in dem cameras.json liegt",
    "Vertices, which every Blender and most other programs can open": "Vertices, die jedes Blender und die meisten "
    "anderen Programme öffnen können",
    "What is known to move shows at its own frame only, all else always": "Was sich bekanntlich bewegt, ist nur bei "
    "seinem Bild zu sehen, alles andere immer",
    "What points that are not in the scene yet become; those that are stay what they are": "Was Punkte werden, die "
    "noch nicht in der Szene sind; die anderen bleiben, was sie sind",
    "When the job is done, tell how good the solve is, with a plot of the errors": "Nach dem Auftrag sagen, wie gut "
    "die Lösung ist, mit einer Kurve der Fehler",
    "Which points show at their own frame only": "Welche Punkte nur bei ihrem Bild zu sehen sind",
    # a job
    "Open the folder that holds the last job's cameras and points": "Öffnet den Ordner mit Kameras und Punkten des "
    "letzten Auftrags",
    "Open the log file of the last job or installation": "Öffnet das Protokoll des letzten Auftrags oder der letzten "
    "Installation",
    "Remove this message": "Entfernt diese Meldung",
    "Remove this message; the job folder and the scene stay as they are": "Entfernt diese Meldung; Auftragsordner und "
    "Szene bleiben, wie sie sind",
    "Save method, quality, device and result settings under a name, or remove the preset of that name": (
        "Speichert Verfahren, Qualität, Gerät und Ergebnis unter einem Namen oder entfernt die Vorgabe dieses Namens"
    ),
    "Start none of the jobs that wait; the running one goes on": "Beginnt keinen der wartenden Aufträge; der laufende "
    "geht weiter",
    # the engine
    "Classic, and PyTorch for the methods with networks; each network has a licence of its own": "Klassisch, dazu "
    "PyTorch für die Verfahren mit Netzen; jedes Netz hat seine eigene Lizenz",
    "Delete the engine with all its packages from this computer; jobs, models and other files stay": (
        "Löscht die Engine mit allen Paketen von diesem Rechner; Aufträge, Modelle und andere Dateien bleiben"
    ),
    "Download the engine's packages into a folder of their own; Blender itself is not changed": "Lädt die Pakete der "
    "Engine in einen eigenen Ordner; Blender selbst wird nicht verändert",
    "Install the Full engine with PyTorch, which the methods with networks need; the Classic one goes on working": (
        "Installiert die volle Engine mit PyTorch, die die Verfahren mit Netzen brauchen; die klassische läuft weiter"
    ),
    "Install the engine from a folder of package files (wheels), without a network": "Installiert die Engine aus "
    "einem Ordner mit Paketdateien (Wheels), ohne Netz",
    "Look at every file of the engine, and let it test itself and the graphics card; changes nothing": (
        "Prüft jede Datei der Engine und lässt sie sich selbst und die Grafikkarte testen; verändert nichts"
    ),
    "Look for damaged packages and fetch those again; if that does not do, install anew": "Sucht beschädigte Pakete "
    "und holt sie neu; wenn das nicht reicht, wird neu installiert",
    "Neither list, download nor run models whose licence rules out commercial use": "Modelle, deren Lizenz "
    "kommerzielle Nutzung ausschließt, weder zeigen noch laden noch benutzen",
    "Show the folder in which the engine is installed": "Zeigt den Ordner, in dem die Engine installiert ist",
    "Stop what is being done to the engine; what was made half is removed, or told to be half": "Hält die Arbeit an "
    "der Engine an; Halbes wird entfernt oder als halb gemeldet",
    "The classic method: no networks, works offline and without a graphics card, commercial use allowed": (
        "Das klassische Verfahren: keine Netze, läuft offline und ohne Grafikkarte, kommerzielle Nutzung erlaubt"
    ),
    "Use this Python instead of an installed engine; it must have the packages the engine needs": (
        "Dieses Python statt einer installierten Engine benutzen; es muss deren Pakete haben"
    ),
    "What the engine can do, and how large it is": "Was die Engine kann und wie groß sie ist",
    "Where model weights are kept, for several machines too; empty: the Hugging Face cache of your user account, "
    "which other programs share": "Wo Gewichte der Modelle liegen, auch für mehrere Rechner; leer: der "
    "Hugging-Face-Cache deines Benutzerkontos, den andere Programme teilen",
    "Where results are kept; empty: a folder 3r_jobs beside the .blend file": "Wo Ergebnisse liegen; leer: ein Ordner "
    "3r_jobs neben der .blend-Datei",
    "Where the engine is installed; empty: a folder of your user account for all Blender versions": (
        "Wo die Engine installiert wird; leer: ein Ordner deines Benutzerkontos für alle Blender-Versionen"
    ),
    # models
    "Delete this model's files; other programs that use the same files will have to download them again": (
        "Löscht die Dateien dieses Modells; andere Programme, die sie benutzen, müssen sie neu laden"
    ),
    "Go on with this download where it stopped": "Lädt weiter, wo es aufhörte",
    "How the list calls it; empty: as the file is called": "Wie es in der Liste heißt; leer: wie die Datei heißt",
    "Look again which models there are, and which of them are on this machine": "Sieht neu nach, welche Modelle es "
    "gibt und welche auf diesem Rechner sind",
    "Open the licence in your browser, where its publisher has it": "Öffnet die Lizenz im Browser, wo ihr Herausgeber "
    "sie hat",
    "Put a checkpoint file of yours into the list; it is read where it lies, and neither copied nor changed": (
        "Nimmt eine eigene Checkpoint-Datei in die Liste auf; sie wird gelesen, wo sie liegt, und weder kopiert noch "
        "verändert"
    ),
    "Read and accept the licence, then download the model in the background": "Die Lizenz lesen und annehmen, dann "
    "wird das Modell im Hintergrund geladen",
    "Show or hide what there is to know of this model, and what can be done with it": "Zeigt oder verbirgt, was über "
    "dieses Modell zu wissen ist und was man damit tun kann",
    "Stop this download and delete what has come of it": "Hält diesen Download an und löscht, was schon da ist",
    "Stop this download; what has come is kept, and Resume goes on from there": "Hält diesen Download an; was da ist, "
    "bleibt, und Fortsetzen macht dort weiter",
    "The licence allows commercial use": "Die Lizenz erlaubt kommerzielle Nutzung",
    "The licence of the weights, if you know it": "Die Lizenz der Gewichte, wenn du sie kennst",
    "The page of the licence that is shown": "Die Seite der Lizenz, die gezeigt wird",
    "Use this model for the scene's footage": "Dieses Modell für das Material der Szene benutzen",
    "What it is in truth": "Was es in Wahrheit ist",
    "Without it nothing is downloaded": "Ohne das wird nichts geladen",
    "Look through the camera of the next photo; the render takes the photo's size": (
        "Blickt durch die Kamera des nächsten Fotos; das Rendern übernimmt dessen Größe"
    ),
    "Look through the camera of the previous photo; the render takes the photo's size": (
        "Blickt durch die Kamera des vorigen Fotos; das Rendern übernimmt dessen Größe"
    ),
}
