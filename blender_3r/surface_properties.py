"""What the artist sets for surfaces; a part of Scene.threer."""

from __future__ import annotations

import bpy

from .translations import OWN


class THREER_PG_surfaces(bpy.types.PropertyGroup):
    """Surfaces of a reconstruction."""

    detail: bpy.props.EnumProperty(
        name="Detail",
        description="How small the parts are that the surface is made of, measured in pixels of the depth maps",
        items=(
            ("draft", "Draft", "Coarse and fast"),
            ("normal", "Normal", "About what the depth maps show"),
            ("fine", "Fine", "All that the depth maps show, noise too; several times the memory and time"),
        ),
        default="normal",
        translation_context=OWN,
    )
    use_voxel: bpy.props.BoolProperty(name="Own Voxel Size", description="Set the size of the parts yourself")
    voxel: bpy.props.FloatProperty(
        name="Voxel Size",
        description="Size of the parts the surface is made of, in the reconstruction's own units (before the root "
        "empty scales it)",
        default=0.02,
        min=1e-6,
        soft_max=1.0,
        precision=4,
    )
    faces: bpy.props.IntProperty(
        name="Faces",
        description="At most so many faces; 0 keeps all",
        default=500_000,
        min=0,
        soft_max=5_000_000,
        step=10000,
    )
    min_confidence: bpy.props.FloatProperty(
        name="Min Confidence",
        description="Leave out depth that is less certain",
        default=0.1,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    moving: bpy.props.BoolProperty(
        name="Include What Moves",
        description="Also what moves by itself, as if it stood; otherwise only the surface of a single view shows it",
    )
    texture: bpy.props.EnumProperty(
        name="Texture",
        description="Compose a picture for the surface from the original frames, sharper than colours per vertex",
        items=(
            ("0", "Off", "Colours per vertex alone"),
            ("2048", "2K", "A picture of 2048 x 2048 pixels"),
            ("4096", "4K", "A picture of 4096 x 4096 pixels"),
        ),
    )
    which: bpy.props.EnumProperty(
        name="Views",
        description="Which views get a surface of their own",
        items=(
            ("NOW", "Current", "The view nearest to the current frame; of photos, that of the scene's camera"),
            ("SPREAD", "Some", "A few views, evenly spread"),
            ("ALL", "All", "Every view that has depth"),
        ),
        translation_context=OWN,
    )
    count: bpy.props.IntProperty(name="Count", description="How many views", default=5, min=1, soft_max=50)
    edge_angle: bpy.props.FloatProperty(
        name="Cut Angle",
        description="Cut the surface where its camera would see it at a flatter angle than this many degrees: at depth "
        "edges",
        default=3.0,
        min=0.0,
        max=60.0,
    )
    budget: bpy.props.IntProperty(
        name="Vertices",
        description="About so many vertices in all; depth maps are thinned evenly to that",
        default=1_000_000,
        min=1000,
        soft_max=10_000_000,
        step=10000,
    )
