"""What the artist sets, per scene. Scene.threer holds all of it; nothing here computes."""

from __future__ import annotations

import bpy

from .operators import footage
from .operators.import_job import KIND_ITEMS, MOVING_ITEMS
from .surface_properties import THREER_PG_surfaces
from .translations import OWN


def _picked(self: THREER_PG_settings, context: bpy.types.Context) -> None:
    footage.refresh(self)


def _path_edited(self: THREER_PG_settings, context: bpy.types.Context) -> None:
    footage.path_edited(self)


def _range_edited(self: THREER_PG_settings, context: bpy.types.Context) -> None:
    footage.refresh_used(self)


class THREER_PG_file(bpy.types.PropertyGroup):
    """One of several picked files; `name` is its path."""


class THREER_PG_settings(bpy.types.PropertyGroup):
    """Footage, method and how the result comes into the scene. What begins with info_ is written by the extension."""

    source: bpy.props.EnumProperty(
        name="Source",
        description="Where the footage comes from",
        items=(
            ("FILES", "Movie or Images", "A movie, an image sequence or photos on disk", "FILE_MOVIE", 0),
            ("CLIP", "Movie Clip", "A clip that is already open in the Movie Clip Editor", "TRACKER", 1),
            ("IMAGE", "Image", "An image, sequence or movie that is already in this file", "IMAGE_DATA", 2),
            ("RIG", "Several Cameras", "One movie per camera, all of the same take", "CAMERA_STEREO", 3),
        ),
        update=_picked,
    )
    path: bpy.props.StringProperty(
        name="Footage",
        description="A movie file, one image of a sequence, or a folder of photos",
        subtype="NONE",
        update=_path_edited,
    )
    files: bpy.props.CollectionProperty(type=THREER_PG_file)
    clip: bpy.props.PointerProperty(
        name="Clip", description="The movie clip to reconstruct", type=bpy.types.MovieClip, update=_picked
    )
    image: bpy.props.PointerProperty(
        name="Image", description="The image, sequence or movie to reconstruct", type=bpy.types.Image, update=_picked
    )
    image_kind: bpy.props.EnumProperty(
        name="Images Are",
        description="How the images belong together",
        items=(
            ("AUTO", "Automatic", "Numbered images without gaps are a sequence, others photos"),
            ("SEQUENCE", "Sequence", "Frames of one moving camera, in the order of their numbers"),
            ("PHOTOS", "Photos", "Single pictures in any order; each gets a camera of its own"),
        ),
        update=_picked,
    )

    use_range: bpy.props.BoolProperty(
        name="Frame Range", description="Use only a part of the shot", update=_range_edited
    )
    first: bpy.props.IntProperty(
        name="First",
        description="First frame to use; movies count from 1, sequences by the number in the file name",
        default=1,
        update=_range_edited,
    )
    last: bpy.props.IntProperty(
        name="Last", description="Last frame to use, counted like the first", default=250, update=_range_edited
    )
    step: bpy.props.IntProperty(
        name="Every",
        description="Use every n-th frame; 1 uses all of them",
        default=1,
        min=1,
        soft_max=10,
        update=_range_edited,
    )
    rig_frame: bpy.props.IntProperty(
        name="Frame", description="The frame taken from each movie, counted from 1", default=1, min=1
    )

    method: bpy.props.EnumProperty(
        name="Method",
        description="How cameras and points are found",
        items=(  # the numbers lie in saved files
            (
                "auto",
                "Auto",
                "The engine chooses by the footage, the models on this machine, their licences and the memory, and "
                "says why",
                "NONE",
                2,
            ),
            (
                "classic",
                "Classic",
                "Feature tracks and bundle adjustment. Works offline, on any machine, without model weights; "
                "commercial use is allowed",
                "NONE",
                0,
            ),
            (
                "pairwise",
                "Pairwise",
                "A network looks at pairs of images: few photos, little texture, single images. Needs the Full engine "
                "and the weights of a model, whose licence mostly rules out commercial use",
                "NONE",
                1,
            ),
            (
                "multiview",
                "Multi-View",
                "A network looks at all images at once, in chunks where they are many: photo sets and short shots. "
                "Needs the Full engine and the weights of a model",
                "NONE",
                3,
            ),
            (
                "streaming",
                "Streaming",
                "A network goes through the shot frame by frame and shows what it has: long shots. Needs the Full "
                "engine and the weights of a model",
                "NONE",
                4,
            ),
        ),
        default="auto",
    )
    model: bpy.props.StringProperty(
        name="Model",
        description="The weights the network uses; empty: the method's own choice",
    )
    every: bpy.props.IntProperty(
        name="Solve Every",
        description="Only every n-th frame goes through the network; the camera's keys between them are interpolated",
        default=1,
        min=1,
        soft_max=10,
    )
    chunk_size: bpy.props.IntProperty(
        name="Chunk Size",
        description="How many views the network sees at once; 0: as many as memory holds",
        default=0,
        min=0,
        soft_max=200,
    )
    refine: bpy.props.BoolProperty(
        name="Refine Cameras",
        description="Follow points through the footage and adjust the network's cameras until they stick to it, and "
        "the depth to them. It takes about as long as the method Classic does for its cameras. Where too little can be "
        "followed, the network's cameras stay",
        default=True,
    )
    hold_scale: bpy.props.BoolProperty(
        name="Hold Scale",
        description="While refining, keep the scale of the shot as the network's depth has it: for footage with "
        "stretches in which few points can be followed",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="What computes the network",
        items=(
            ("auto", "Automatic", "The graphics card if there is one that fits, else the processor"),
            ("cpu", "Processor", "Slow, but has all of the computer's memory"),
            ("cuda", "Graphics Card", "NVIDIA with CUDA, or AMD with ROCm"),
            ("mps", "Apple Graphics", "The graphics processor of a Mac with Apple silicon"),
        ),
    )
    card: bpy.props.IntProperty(
        name="Card", description="Which graphics card, counted from 0", default=0, min=0, soft_max=7
    )
    precision: bpy.props.EnumProperty(
        name="Precision",
        description="The kind of numbers in which the network computes; less precise ones take less memory and time",
        items=(
            ("auto", "Automatic", "16 bit on graphics cards, 32 bit on the processor"),
            ("float32", "32 Bit", "The most precise, twice the memory"),
            ("bfloat16", "16 Bit, Wide Range", "For newer graphics cards"),
            ("float16", "16 Bit", "For older graphics cards"),
        ),
    )
    use_memory_limit: bpy.props.BoolProperty(
        name="Limit Memory", description="Leave memory for other programs instead of using what is free"
    )
    memory_gb: bpy.props.FloatProperty(
        name="Gigabytes",
        description="How much memory the job may use",
        default=8.0,
        min=0.5,
        soft_max=128.0,
        precision=1,
        step=100,
    )
    allow_smaller: bpy.props.BoolProperty(
        name="Shrink to Fit",
        description="When memory does not do, begin again with images of 224 pixels, cut square, instead of failing",
    )
    quality: bpy.props.EnumProperty(
        name="Quality",
        description="How much time is spent",
        items=(
            ("draft", "Draft", "Fast: see whether the shot works at all"),
            ("normal", "Normal", "Good for most shots"),
            ("fine", "Fine", "More features and denser points, several times slower"),
        ),
        default="normal",
        translation_context=OWN,
    )
    focal_known: bpy.props.EnumProperty(
        name="Focal Length",
        description="What is known of the lens",
        items=(
            ("NO", "Unknown", "Find the focal length from the footage"),
            ("MM", "Millimeters", "Focal length and sensor width, as written on the lens and the camera"),
            ("PX", "Pixels", "Focal length in pixels, from a calibration"),
        ),
    )
    focal_mm: bpy.props.FloatProperty(
        name="Focal Length",
        description="Focal length of the lens (not the 35 mm equivalent, unless the sensor is 36 mm wide)",
        default=35.0,
        min=1.0,
        soft_max=300.0,
        subtype="DISTANCE_CAMERA",
    )
    sensor_mm: bpy.props.FloatProperty(
        name="Sensor Width",
        description="Width of the part of the sensor that the footage shows",
        default=36.0,
        min=1.0,
        soft_max=70.0,
        subtype="DISTANCE_CAMERA",
    )
    focal_px: bpy.props.FloatProperty(
        name="Focal Length",
        description="Focal length in pixels of the original footage",
        default=1000.0,
        min=1.0,
        soft_max=10000.0,
        precision=1,
    )
    lens: bpy.props.EnumProperty(
        name="Lens",
        description="Whether the focal length changes during the shot",
        items=(
            ("auto", "Automatic", "Find out whether the lens zooms"),
            ("shared", "Fixed", "One focal length for the whole shot"),
            ("zoom", "Zoom", "A focal length for each frame"),
        ),
    )
    center: bpy.props.EnumProperty(
        name="Optical Center",
        description="Where the lens points in the picture; off the middle in cropped footage",
        items=(
            ("auto", "Automatic", "Found where the footage leaves no doubt that it is not in the middle"),
            ("fixed", "Middle", "In the middle of the picture"),
            ("free", "Free", "Always found"),
        ),
    )
    mask_from: bpy.props.EnumProperty(
        name="Mask",
        description="What of the picture is left alone: people, screens, a logo",
        items=(
            ("NO", "None", "Use the whole picture"),
            ("FILES", "Images or Movie", "White is left alone; numbered or named as the frames are"),
            ("ALPHA", "Alpha", "What is transparent in the footage is left alone"),
            ("MASK", "Blender Mask", "What a mask of the Movie Clip Editor covers is left alone"),
        ),
    )
    mask_path: bpy.props.StringProperty(
        name="Mask File",
        description="A movie, one image for all frames, one image of a numbered sequence, or a folder of images",
        subtype="FILE_PATH",
    )
    mask: bpy.props.PointerProperty(
        name="Blender Mask",
        description="Drawn with its feather, animation and tracks when the job starts",
        type=bpy.types.Mask,
    )
    mask_invert: bpy.props.BoolProperty(name="Invert", description="Black is left alone, white is used")
    dense: bpy.props.BoolProperty(
        name="Dense Points", description="Also measure depth and fill the scene with points", default=True
    )
    points: bpy.props.IntProperty(
        name="Points",
        description="About how many dense points the scene gets; 0 lets the quality decide",
        default=0,
        min=0,
        soft_max=5_000_000,
        step=10000,
    )
    match_scene: bpy.props.BoolProperty(
        name="Match Scene",
        description="Set resolution, frame rate and frame range of the scene, and its active camera",
        default=True,
    )
    show_report: bpy.props.BoolProperty(
        name="Show Report", description="When the job is done, tell how good the solve is, with a plot of the errors"
    )
    moving: bpy.props.EnumProperty(
        name="Moving", description="Which points show at their own frame only", items=MOVING_ITEMS
    )
    find_moving: bpy.props.BoolProperty(
        name="Find What Moves",
        description="Find what moves by itself: other frames see through the place where it is. It shows at its own "
        "frame only",
        default=True,
    )
    points_as: bpy.props.EnumProperty(
        name="Points As",
        description="What points that are not in the scene yet become; those that are stay what they are",
        items=KIND_ITEMS,
    )
    slideshow: bpy.props.BoolProperty(
        name="Slideshow Camera",
        description="Also make one camera that stands where another photo was taken at each frame, and shows it",
    )

    active_view: bpy.props.IntProperty(name="View", description="The view chosen in the list", options={"HIDDEN"})
    surfaces: bpy.props.PointerProperty(name="Surfaces", description="How surfaces are made", type=THREER_PG_surfaces)
    info_kind: bpy.props.StringProperty(options={"HIDDEN"})
    info_text: bpy.props.StringProperty(options={"HIDDEN"})
    info_warnings: bpy.props.StringProperty(options={"HIDDEN"})
    info_error: bpy.props.StringProperty(options={"HIDDEN"})
    info_count: bpy.props.IntProperty(options={"HIDDEN"})
    info_used: bpy.props.IntProperty(options={"HIDDEN"})
    info_width: bpy.props.IntProperty(options={"HIDDEN"})
    info_height: bpy.props.IntProperty(options={"HIDDEN"})


classes = (THREER_PG_file, THREER_PG_surfaces, THREER_PG_settings)


def register() -> None:
    for cls in classes:
        bpy.utils.register_class(cls)
    bpy.types.Scene.threer = bpy.props.PointerProperty(type=THREER_PG_settings)


def unregister() -> None:
    del bpy.types.Scene.threer
    for cls in reversed(classes):
        bpy.utils.unregister_class(cls)
