"""One MCAP file a rollout, as any ROS 2 tool reads it, and the one way a rollout gets into a study."""

from robomd_ros.recording.commit import attach_recording, commit_rollout
from robomd_ros.recording.reader import read_recording, verify_recording
from robomd_ros.recording.writer import write_recording

__all__ = [
    "attach_recording",
    "commit_rollout",
    "read_recording",
    "verify_recording",
    "write_recording",
]
