"""Import a job folder, finished or still running; importing it again updates what is in the scene."""

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..engine.errors import EngineError
from ..scene.job import ImportOptions, import_job
from ..scene.point_kind import can_be_cloud
from ..scene.points import show_colors

MOVING_ITEMS = (
    ("known", "Where Known", "What is known to move shows at its own frame only, all else always"),
    (
        "frames",
        "A Cloud for Each Frame",
        "All points show at their own frame only, so that the shot plays in 3D. The number of points is that of all "
        "frames together",
    ),
    ("none", "Ignore", "All points always show"),
)
KIND_ITEMS = (
    ("MESH", "Mesh", "Vertices, which every Blender and most other programs can open"),
    ("CLOUD", "Point Cloud", "A point cloud, which has edit and sculpt tools of its own"),
)


class THREER_OT_import_job(bpy.types.Operator):
    """Import the cameras and points of a reconstruction; importing it again updates them"""

    bl_idname = "threer.import_job"
    bl_label = "Import Reconstruction"
    bl_options = {"REGISTER", "UNDO"}

    directory: StringProperty(
        name="Job Folder", description="The folder that holds cameras.json", subtype="DIR_PATH", options={"SKIP_SAVE"}
    )
    filter_folder: BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    point_budget: IntProperty(
        name="Points", description="Import at most so many points; 0 for cameras only", default=1_000_000, min=0
    )
    plate: BoolProperty(name="Background Plate", description="Show the footage behind the cameras", default=True)
    match_scene: BoolProperty(
        name="Match Scene",
        description="Give the scene the footage's resolution, pixel aspect, frame rate, frame range and colours "
        "(view transform Standard), and make the camera active",
        default=True,
    )
    moving: EnumProperty(
        name="Moving",
        description="Of movies and sequences: which points show at their own frame only",
        items=MOVING_ITEMS,
    )
    points_as: EnumProperty(
        name="Points As",
        description="What points that are not in the scene yet become; those that are stay what they are",
        items=KIND_ITEMS,
        options=set() if can_be_cloud() else {"HIDDEN"},
    )
    slideshow: BoolProperty(
        name="Slideshow Camera",
        description="Of photos: also one camera that stands where another photo was taken at each frame, and shows it",
        default=False,
    )
    show_colors: BoolProperty(
        name="Show Colors",
        description="Switch this 3D view to Material Preview: Solid draws point clouds gray",
        default=False,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.mode != "OBJECT":
            cls.poll_message_set("Switch to Object Mode first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.show_colors = True
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.directory:
            self.report({"ERROR"}, "No job folder is chosen. Choose the folder that holds cameras.json.")
            return {"CANCELLED"}
        options = ImportOptions(
            self.point_budget,
            self.plate,
            self.match_scene,
            slideshow=self.slideshow,
            moving=self.moving,
            as_cloud=self.points_as == "CLOUD",
        )
        try:
            result = import_job(context.scene, bpy.path.abspath(self.directory), options)
        except EngineError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if self.show_colors and result.point_count and context.area and context.area.type == "VIEW_3D":
            show_colors(context.space_data)
        self.report({"INFO"}, result.text)
        for sentence in result.warnings:  # the status bar shows the last one
            self.report({"WARNING"}, sentence)
        return {"FINISHED"}


classes = (THREER_OT_import_job,)
