from setuptools import setup

package = "sim_bridge"

setup(
    name=package,
    version="0.1.0",
    packages=[package, f"{package}.tasks"],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package}"]),
        (f"share/{package}", ["package.xml"]),
    ],
    python_requires=">=3.11,<3.13",
    # robomd_ros and rclpy come from the workspace or the environment, see the README.
    install_requires=["mujoco>=3.3,<3.4", "numpy", "opencv-python", "robosuite>=1.5.2,<1.6"],
    zip_safe=False,
    maintainer="RoboMD for ROS 2 developers",
    maintainer_email="robomd@example.org",
    description="robosuite behind the topics, service and action of the real robot cell.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "sim_bridge_node = sim_bridge.sim_bridge_node:main",
            "standin_cell = sim_bridge.standin_cell_node:main",
        ]
    },
)
