import bpy

settings = bpy.context.scene.threer

settings.method = "auto"
settings.quality = "fine"
settings.dense = True
settings.points = 0
