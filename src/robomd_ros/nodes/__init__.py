"""One file = one node = one `main()`."""

import robomd_ros.adapters  # noqa: F401  (switches field checks on before any node imports a message)
