"""Names on the wire. All relative, so that a namespace separates cells; see docs/architecture.md for who serves what."""

CAMERA_IMAGE = "camera/image_raw"
CAMERA_COMPRESSED = "camera/image_raw/compressed"
CAMERA_INFO = "camera/camera_info"
JOINT_STATES = "joint_states"
EE_POSE = "ee_pose"
JOY = "joy"

CELL_APPLY_PERTURBATION = "robomd/cell/apply_perturbation"
RUN_ROLLOUT = "robomd/run_rollout"
ROLLOUT_STATUS = "robomd/rollout_status"
ACTIONS = "robomd/actions"

CELL_STATE = "robomd/cell_state"
OPERATOR_REQUEST = "robomd/operator/request"
OPERATOR_ANSWER = "robomd/operator/answer"
OPERATOR_STOP = "robomd/operator/stop"
INJECT_FAULT = "robomd/standin/inject_fault"

FRAMES = "robomd/frames"
APPLY_PERTURBATION = "robomd/apply_perturbation"
PERTURBATION = "robomd/perturbation"

SETUP_CHECK = "robomd/setup_check"

LABEL_OUTCOME = "robomd/label_outcome"
LIST_ROLLOUTS = "robomd/list_rollouts"
ROLLOUTS = "robomd/rollouts"
LABELED_ROLLOUT = "robomd/labeled_rollout"

EMBED = "robomd/embed"
TRAIN_EMBEDDING = "robomd/train_embedding"

QUERY_FAILURE_LIKELIHOOD = "robomd/query_failure_likelihood"
SUGGEST_NEXT = "robomd/suggest_next"
TRAIN_SEARCH = "robomd/train_search"
RISK_MAP = "robomd/risk_map"

OVERLAY_IMAGE = "robomd/overlay/image"
OVERLAY_MARKERS = "robomd/overlay/markers"
RISK = "robomd/risk"
ALARM = "robomd/alarm"

DIAGNOSE = "robomd/diagnose"
SESSION = "robomd/session"

DIAGNOSTICS = "/diagnostics"
"""Absolute by ROS convention: aggregators listen there."""
