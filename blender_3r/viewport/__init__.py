"""What is drawn into 3D views by the graphics card itself, without a datablock that Blender would evaluate.

fast_points.py looks for points that ask for it at each redraw, drawn_points.py keeps what was made of one object's
points, dots.py speaks to the graphics card.
"""
