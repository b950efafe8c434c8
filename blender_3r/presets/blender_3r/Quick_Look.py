import bpy

settings = bpy.context.scene.threer

settings.method = "auto"
settings.quality = "draft"
settings.dense = True
settings.points = 200_000
