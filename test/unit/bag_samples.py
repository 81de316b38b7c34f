"""rosbag2 recordings as foreign drivers write them, for the tests of the import."""

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

VERDICT = f"std_msgs/Header header\nint32 score\nlab_msgs/Inner inner\n{'=' * 80}\nMSG: lab_msgs/Inner\nbool ok\nfloat32[] arm\n"
START = 1_700_000_000_000_000_000
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)


class Bag:
    """Writes one bag; times are seconds after START."""

    def __init__(self, path, storage=StoragePlugin.MCAP):
        self.store = get_typestore(Stores.ROS2_HUMBLE)
        self.store.register(get_types_from_msg(VERDICT, "lab_msgs/msg/Verdict"))
        self.types = self.store.types
        self.writer = Writer(path, version=9, storage_plugin=storage)
        self.connections = {}

    def __enter__(self):
        self.writer.open()
        return self

    def __exit__(self, *_):
        self.writer.close()

    def add(self, topic, time, kind, **fields):
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=self.store)
        data = self.store.serialize_cdr(self.types[kind](**fields), kind)
        self.writer.write(self.connections[topic], START + round(time * 1e9), data)

    def header(self, stamp, frame_id="cam"):
        """Of a stamp in seconds after START; None = a header nobody filled in."""
        stamp = 0 if stamp is None else START + round(stamp * 1e9)
        time = self.types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
        return self.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)

    def image(self, topic, time, pixels, encoding="bgr8", stamp=..., padding=0):
        rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
        rows = np.pad(rows, ((0, 0), (0, padding)))
        self.add(
            topic,
            time,
            "sensor_msgs/msg/Image",
            header=self.header(time if stamp is ... else stamp),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=rows.shape[1],
            data=rows.reshape(-1),
        )

    def compressed(self, topic, time, rgb, kind="png"):
        _, data = cv2.imencode(f".{kind}", rgb[:, :, ::-1], JPEG if kind == "jpg" else ())
        self.add(
            topic,
            time,
            "sensor_msgs/msg/CompressedImage",
            header=self.header(time),
            format=f"bgr8; {kind} compressed bgr8",
            data=data.reshape(-1),
        )

    def joints(self, topic, time, names, positions, velocities=(), stamp=...):
        self.add(
            topic,
            time,
            "sensor_msgs/msg/JointState",
            header=self.header(time if stamp is ... else stamp),
            name=list(names),
            position=np.array(positions, np.float64),
            velocity=np.array(velocities, np.float64),
            effort=np.zeros(0),
        )

    def command(self, topic, time, values):
        layout = self.types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
        kind = "std_msgs/msg/Float64MultiArray"
        self.add(topic, time, kind, layout=layout, data=np.array(values, np.float64))

    def boolean(self, topic, time, value):
        self.add(topic, time, "std_msgs/msg/Bool", data=value)

    def text(self, topic, time, value):
        self.add(topic, time, "std_msgs/msg/String", data=value)

    def verdict(self, topic, time, ok, arm):
        inner = self.types["lab_msgs/msg/Inner"](ok=ok, arm=np.array(arm, np.float32))
        header = self.header(time)
        self.add(topic, time, "lab_msgs/msg/Verdict", header=header, score=7, inner=inner)


def pictures(count, seed=0, size=16):
    """(count, size, size, 3) random RGB."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def make_bag(path, seed=0, frames=5, success=True, storage=StoragePlugin.MCAP):
    """A cell with names of its own: 10 Hz bgr8 camera, 50 Hz joints, commands, a flag at the end."""
    rgb = pictures(frames, seed)
    with Bag(path, storage) as bag:
        for k in range(frames):
            bag.image("/my/cam/image_raw", 0.1 * k, rgb[k][:, :, ::-1])
            for n in range(5):
                bag.joints("/js", 0.1 * k + 0.02 * n, ("a", "b"), (k + 0.2 * n, -k), (1.0, 2.0))
            bag.command("/cmd", 0.1 * k + 0.03, (k, k + 0.5))
        if success is not None:
            bag.boolean("/done", 0.1 * frames, success)
    return rgb
