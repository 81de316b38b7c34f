"""Run as a process by test_up.py: two nodes of the table under the supervisor."""

import sys

from robomd_ros.cli.supervisor import Supervisor
from robomd_ros.graph import GraphOptions, node_table

wanted = ("camera_capture", "perturbation_tagger")
table = [spec for spec in node_table(GraphOptions(study=sys.argv[1])) if spec.name in wanted]
sys.exit(Supervisor(table, namespace="cell").run())
