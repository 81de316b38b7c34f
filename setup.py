from glob import glob

from setuptools import find_packages, setup

package = "robomd_ros"

setup(
    name=package,
    version="0.1.0",
    packages=find_packages("src", include=["robomd_ros", "robomd_ros.*"]),
    package_dir={"": "src"},
    package_data={package: ["core/catalogues/*.toml", "report/templates/*", "assets/**/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/robomd_ros"]),
        (f"share/{package}", ["package.xml"]),
        (f"share/{package}/launch", glob("launch/*.launch.py")),
        (f"share/{package}/config", glob("config/*")),
    ],
    python_requires=">=3.11",
    maintainer="RoboMD for ROS 2 developers",
    maintainer_email="robomd@example.org",
    description="Live diagnosis of robot manipulation policies after RoboMD.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["robomd = robomd_ros.cli.main:main"]},
)
