import bpy

settings = bpy.context.scene.threer

settings.method = "classic"
settings.quality = "normal"
settings.dense = False
