"""outcome_labeler: puts rollouts together, stores them, labels them. The only writer of the store.

Several cells may share one study: then `robomd hub` runs one of these nodes a cell, in one process.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from robomd_msgs.msg import (
    LabeledRollout,
    Perturbation,
    RolloutFrame,
    RolloutStatus,
    RolloutSummary,
)
from robomd_msgs.srv import LabelOutcome, ListRollouts
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import ERROR, WARN, Health, RobomdNode
from robomd_ros.adapters.conversions import (
    MAX_NAME,
    label_from_msg,
    record_from_status,
    record_to_msg,
)
from robomd_ros.adapters.images import image_from_msg
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.policy_actions import action_from_msg
from robomd_ros.adapters.polled_topics import PolledTopics
from robomd_ros.adapters.runner import run
from robomd_ros.adapters.store_view import fill_page, summary
from robomd_ros.adapters.topic_recorder import RECORDED, TopicRecorder
from robomd_ros.core.assembly import JointBuffer, JointSample, RolloutAssembly
from robomd_ros.core.errors import (
    InvalidArgumentError,
    NotReadyError,
    TooLargeError,
    UnknownIdError,
)
from robomd_ros.core.outcome import Label
from robomd_ros.core.records import RolloutRecord
from robomd_ros.recording.keeper import CELL, LiveStudy, StudyKeeper

_OPEN_ROLLOUTS = 4


@dataclass(frozen=True)
class OutcomeLabelerConfig:
    """Parameters of outcome_labeler."""

    study: str = parameter("studies/live", "folder of the study; made when it is not there")
    keep_recordings: bool = parameter(True, "write one MCAP file a rollout")
    frame_wait: float = parameter(
        3.0, "after FINISHED, missing frames are waited for this long", low=0.0, high=60.0, unit="s"
    )
    joint_wait: float = parameter(
        0.3,
        "after the last frame, joint states and actions are waited for",
        low=0.0,
        high=10.0,
        unit="s",
    )
    retry: float = parameter(
        2.0, "pause between tries while the disk is full", low=0.1, high=600.0, unit="s"
    )
    max_frame_bytes: int = parameter(
        1 << 30, "memory for the frames of one rollout", low=1 << 20, high=1 << 36, unit="bytes"
    )
    compressed: bool = parameter(
        False,
        "record image_raw/compressed as the driver sends it; set where camera_capture reads it",
    )
    record_topics: tuple[str, ...] = parameter(
        (), "topics that are recorded besides the usual ones, as name or name:=pkg/msg/Type"
    )
    max_message_bytes: int = parameter(
        1 << 26, "memory for the messages of these topics", low=1 << 16, high=1 << 34, unit="bytes"
    )
    message_tail: float = parameter(
        0.3, "after FINISHED, messages are recorded for this long", low=0.0, high=10.0, unit="s"
    )
    label_wait: float = parameter(
        5.0, "a label waits this long for its rollout to be stored", low=0.1, high=60.0, unit="s"
    )


@dataclass
class _Rollout:
    """One rollout on its way to the store."""

    assembly: RolloutAssembly = field(default_factory=RolloutAssembly)
    started: float = 0.0
    seen: Perturbation | None = None
    finished: RolloutStatus | None = None
    finished_at: float = 0.0
    frames_at: float = 0.0


class OutcomeLabelerNode(RobomdNode):
    """Stores each finished rollout with its frames, joint states and labels.

    Subscribes: robomd/rollout_status, robomd/frames, robomd/actions, joint_states, robomd/perturbation; for the recordings also
        topic_recorder.RECORDED and those of parameter record_topics, where somebody publishes them.
    Publishes: robomd/rollouts (latched, at 1 Hz), robomd/labeled_rollout.
    Serves: robomd/label_outcome, robomd/list_rollouts.
    Parameters: OutcomeLabelerConfig.

    What the cell itself can tell (the simulator's success checker, labeler "sim") becomes the first label; otherwise the
    rollout stays unlabelled until robomd/label_outcome is called. While the disk is full, rollouts wait in memory.

    Args:
        live: a study that other cells feed, too, and that somebody else closes; None = the one of parameter study.
        cell: name of this cell there. Numbers, lists and labels are about the whole study; what is announced, and the
            newest rollout, are this cell's.
    """

    threads = 4

    def __init__(self, live: LiveStudy | None = None, cell: str = "", **kwargs: Any) -> None:
        super().__init__("outcome_labeler", **kwargs)
        self._config = declare(self, OutcomeLabelerConfig)
        self._owned = live is None
        self._live = live or LiveStudy(Path(self._config.study), self._config.keep_recordings)
        self._keeper = StudyKeeper(self._live, cell)
        self._lock = threading.Lock()
        self._judging = threading.Lock()
        self._rollouts: OrderedDict[str, _Rollout] = OrderedDict()
        self._joints = JointBuffer(100_000)
        self._actions = JointBuffer(10_000)
        self._seen: Perturbation | None = None
        self._frames_lost = 0
        self._policies_said = 0
        self._stored = 0
        self._flushed_at = 0.0
        polled = PolledTopics(self)
        self._recorder = TopicRecorder(
            self,
            polled,
            (*RECORDED, *self._config.record_topics) if self._config.keep_recordings else (),
            self._config.max_message_bytes,
            self._config.compressed and self._config.keep_recordings,
        )
        self._disk = self.worker("store")
        self._labeled = self.create_publisher(LabeledRollout, names.LABELED_ROLLOUT, qos.EVENTS)
        self._summary = self.create_publisher(RolloutSummary, names.ROLLOUTS, qos.LATCHED)
        self.create_subscription(
            RolloutStatus,
            names.ROLLOUT_STATUS,
            lambda data, info: self.guard(self._on_status, data, info["received_timestamp"]),
            qos.ROLLOUT_STATUS,
            raw=True,
        )
        self.listen(Perturbation, names.PERTURBATION, self._on_perturbation, qos.LATCHED)
        self.listen(RolloutFrame, names.FRAMES, self._on_frame, qos.FRAMES)
        self.listen(JointState, names.ACTIONS, self._on_action, qos.FRAMES)
        polled.add(JointState, names.JOINT_STATES, qos.SENSOR_HISTORY, self._on_joints)
        self.serve(LabelOutcome, names.LABEL_OUTCOME, self._label, self.reentrant)
        self.serve(ListRollouts, names.LIST_ROLLOUTS, self._list, self.reentrant)
        self.every(0.05, self._settle)
        self.every(1.0, self._publish_summary)
        self.every(1.0, self._give_up)
        self._live.listeners.append(self._on_changed)
        if self._live.open() and self._owned:
            for finding in self._live.findings:
                self.get_logger().warning(str(finding))

    # -- what arrives ---------------------------------------------------------------------------------------------

    def _on_status(self, data: bytes, received: int) -> None:
        msg = deserialize_message(data, RolloutStatus)
        self._recorder.add(names.ROLLOUT_STATUS, "robomd_msgs/msg/RolloutStatus", data, received)
        if self._keeper.holds(msg.rollout_id):  # told again, after this node was started again
            return
        with self._lock:
            rollout = self._rollout(msg.rollout_id)
            if msg.state == RolloutStatus.STARTED:
                rollout.assembly.start = stamps.to_ns(msg.header.stamp)
                rollout.started = time.time()
            elif msg.state == RolloutStatus.FINISHED and rollout.finished is None:
                rollout.assembly.end = stamps.to_ns(msg.header.stamp)
                rollout.assembly.frames_expected = msg.frames
                rollout.finished, rollout.finished_at = msg, time.monotonic()
                rollout.seen = self._seen

    def _on_perturbation(self, msg: Perturbation) -> None:
        self._seen = msg

    def _on_frame(self, msg: RolloutFrame) -> None:
        if self._keeper.holds(msg.rollout_id):
            return
        rgb = image_from_msg(msg.image)
        stamp = stamps.to_ns(msg.header.stamp)
        self._recorder.hear(stamp, time.time_ns())
        with self._lock:
            rollout = self._rollout(msg.rollout_id)
            if msg.before_motion:
                rollout.assembly.start = stamp
            rollout.assembly.add_frame(stamp, rgb, self._config.max_frame_bytes)
            rollout.frames_at = time.monotonic()

    def _on_joints(self, data: bytes, received: int) -> None:
        msg = deserialize_message(data, JointState)
        size = len(msg.name)
        if not size or len(msg.position) != size:
            return
        velocity = msg.velocity if len(msg.velocity) == size else np.zeros(size)
        sample = JointSample(
            stamps.to_ns(msg.header.stamp),
            tuple(msg.name),
            np.array(msg.position),
            np.array(velocity),
        )
        self._recorder.hear(sample.stamp, received)
        with self._lock:
            self._joints.add(sample)

    def _on_action(self, msg: JointState) -> None:
        action = action_from_msg(msg)
        if action is not None:
            with self._lock:
                self._actions.add(action)

    def _rollout(self, rollout_id: str) -> _Rollout:
        """The rollout of this id, made when new. Unfinished ones that are long past are given up."""
        if rollout_id not in self._rollouts:
            self._rollouts[rollout_id] = _Rollout()
            unfinished = [i for i, r in self._rollouts.items() if r.finished is None]
            for old in unfinished[:-_OPEN_ROLLOUTS]:
                del self._rollouts[old]
        return self._rollouts[rollout_id]

    def _give_up(self) -> None:
        """Rollouts that had not finished when their cell went away: nobody will finish them."""
        if self.count_publishers(names.ROLLOUT_STATUS):
            return
        with self._lock:
            left = [i for i, r in self._rollouts.items() if r.finished is None]
            for rollout_id in left:
                del self._rollouts[rollout_id]
        for rollout_id in left:
            self.get_logger().warning(f"rollout {rollout_id} is given up: its cell went away")

    # -- to the disk ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Hand the rollouts that are complete, or have waited long enough, to the disk."""
        now = time.monotonic()
        with self._lock:
            ready = [i for i, r in self._rollouts.items() if self._is_ready(r, now)]
            for rollout_id in ready:
                self.guard(self._finish, self._rollouts[rollout_id])
                del self._rollouts[rollout_id]
        due = not self._live.trouble or now - self._flushed_at >= self._config.retry
        if self._keeper.waiting and not self._disk.jobs and due:
            self._flushed_at = now
            self._disk.submit(self.guard, self._flush)

    def _is_ready(self, rollout: _Rollout, now: float) -> bool:
        if rollout.finished is None:
            return False
        if not rollout.assembly.complete:
            return now - rollout.finished_at >= self._config.frame_wait
        if now - rollout.finished_at < self._config.message_tail and self._recorder.is_wall:
            return False
        begin, end = rollout.assembly.begin, rollout.assembly.end
        joints_done = self._joints.newest >= end or not self._joints.newest
        count = len(self._actions.between(begin, end)) if self._actions.newest else math.inf
        since = max(rollout.finished_at, rollout.frames_at)
        all_there = joints_done and count >= rollout.finished.steps
        return all_there or now - since >= self._config.joint_wait

    def _finish(self, rollout: _Rollout) -> None:
        status, assembly = rollout.finished, rollout.assembly
        if status is None:
            return
        started = rollout.started or time.time() - status.duration
        record = record_from_status(status, started, rollout.seen)
        begin, end = assembly.begin, assembly.end
        if not self._recorder.is_whole_since(begin):
            record = replace(record, facts={**record.facts, "messages": "incomplete"})
            self.get_logger().warning(
                f"rollout {record.id}: its messages are incomplete: raise max_message_bytes"
            )
        record, trace = assembly.build(
            record,
            self._joints.between(begin, end),
            self._recorder.compressed(begin, end),
            self._recorder.extras(begin, max(end, self._recorder.now())),
            self._actions.between(begin, end),
        )
        self._keeper.add(record, trace)
        lost = record.frames_expected - record.frames
        if lost > 0:
            self._frames_lost += lost
            self.get_logger().warning(
                f"rollout {record.id}: {record.frames} of {record.frames_expected} frames arrived"
            )

    def _flush(self) -> None:
        stored, refused = self._keeper.flush()
        for error in refused:
            self.note_error("store", error)
        for record in stored:
            self._stored += 1
            name = record.outcome.name
            self.get_logger().info(f"stored {record.id}: {record.perturbation.id} {name}")
        if len(self._live.other_policies) > self._policies_said:
            self._policies_said = len(self._live.other_policies)
            self.get_logger().warning(self._mixed())
        if self._live.trouble:
            self.get_logger().error(self._live.trouble, throttle_duration_sec=10.0)
            self._publish_summary()

    def _on_changed(self, record: RolloutRecord) -> None:
        """A rollout was stored or judged, here or by another cell: its own cell is told, and all get the new numbers."""
        if record.facts.get(CELL, "") in ("", self._keeper.cell):
            self.guard(self._labeled.publish, record_to_msg(record))
        self.guard(self._publish_summary)

    # -- services -------------------------------------------------------------------------------------------------

    def _label(self, request: Any, response: Any) -> None:
        second = bool(request.second_look)
        label = None if request.undo else label_from_msg(request.outcome, second)
        if len(request.rollout_id) > MAX_NAME or len(request.outcome.labeler) > MAX_NAME:
            raise TooLargeError(f"rollout_id or labeler of more than {MAX_NAME} characters.")
        if second and not request.rollout_id:
            raise InvalidArgumentError("a second look names its rollout: rollout_id is empty.")
        rollout_id = self._resolve(request.rollout_id)
        self._keeper.check_not_refused(rollout_id)
        self._keeper.wait_stored(rollout_id, self._config.label_wait)
        store = self._store_for(rollout_id)
        with self._judging:
            if label is None:
                record = store.undo(rollout_id, request.outcome.labeler, time.time(), second)
            elif _says_already(store.get(rollout_id), label):
                record = store.get(rollout_id)  # a key that bounced, a call that was sent again
            else:
                record = store.label(rollout_id, label)
        response.rollout = record_to_msg(record)
        self._live.tell(record)

    def _resolve(self, rollout_id: str) -> str:
        """The id meant: the newest rollout for ""; one that has just finished is waited for."""
        with self._lock:
            finishing = [i for i, r in self._rollouts.items() if r.finished is not None]
        wanted = rollout_id or (finishing[-1] if finishing else "") or self._keeper.newest()
        deadline = time.monotonic() + self._config.frame_wait + self._config.joint_wait + 1.0
        while wanted in finishing and wanted in self._rollouts and time.monotonic() < deadline:
            if self.closing.wait(0.02):
                break
        if not wanted:
            raise UnknownIdError("no rollout is stored yet: run one first.")
        if wanted in self._rollouts:
            raise UnknownIdError(f"rollout {wanted} is not over yet: label it then.")
        return wanted

    def _store_for(self, rollout_id: str) -> Any:
        try:
            return self._live.store()
        except NotReadyError:
            raise UnknownIdError(f"no rollout {rollout_id!r}: none is stored yet.") from None

    def _list(self, request: Any, response: Any) -> None:
        fill_page(self._live, request, response)

    # -- state ----------------------------------------------------------------------------------------------------

    def _publish_summary(self) -> None:
        self._summary.publish(summary(self._live, self._keeper.cell))

    def _mixed(self) -> str:
        """Policies that the study is not about, in a sentence; "" = none."""
        study, others = self._live.study, self._live.other_policies
        if study is None or not others:
            return ""
        return (
            f"the study {self._live.folder} is about policy {study.meta.policy_id!r}, but rollouts of "
            f"{', '.join(map(repr, others))} were stored in it: give each policy a study of its own."
        )

    def health(self) -> Health:
        """ERROR while the disk takes nothing, WARN when policies are mixed or frames were lost."""
        out = Health(
            values={
                "study": self._live.folder,
                "stored": self._stored,
                "waiting_for_disk": self._keeper.waiting,
                "collecting": len(self._rollouts),
                "frames_lost": self._frames_lost,
                "recorded": ", ".join(self._recorder.recorded),
                "not_recorded": ", ".join(self._recorder.refused),
            }
        )
        if self._live.trouble:
            out.level, out.message = ERROR, self._live.trouble
        elif mixed := self._mixed():
            out.level, out.message = WARN, mixed
        elif self._frames_lost:
            out.level = WARN
            out.message = f"{self._frames_lost} camera frames did not arrive"
        return out

    def destroy_node(self) -> None:
        """Bring what waits to the disk if it will go, and close the store."""
        self._live.listeners.remove(self._on_changed)
        super().destroy_node()
        with self._lock:
            # Their frames or joint states will not come any more: what came is stored.
            for rollout in self._rollouts.values():
                self.guard(self._finish, rollout)
            self._rollouts.clear()
        self._keeper.flush()
        if self._owned:
            self._live.close()


def _says_already(record: RolloutRecord, label: Label) -> bool:
    """The newest label of its kind is of the same person and says the same: once more would be no other judgement."""
    said = record.second_looks if label.second_look else record.labels
    return bool(said) and replace(said[-1], stamp=label.stamp) == label


def main() -> None:
    """Run the node."""
    run(OutcomeLabelerNode)


if __name__ == "__main__":
    main()
