"""Videos: a picture-to-picture model paints every frame; sound, timing and rotation stay.

Frames are painted on all cores into segments beside the target, which are joined at the end: what
is killed goes on after the last segment. PyAV, the extra `video`, is imported when it is needed.
"""

from modelpad.video.painting import PaintRequest, Progress, paint_video

__all__ = ["PaintRequest", "Progress", "paint_video"]
