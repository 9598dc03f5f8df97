"""Map the top-level folders to packages under ``controltower``."""

from setuptools import find_packages, setup

FOLDERS = ("alerts", "cli", "collector", "dashboard", "store", "tracer")
FOUND = find_packages(include=[*FOLDERS, *(f"{folder}.*" for folder in FOLDERS)])

setup(
    packages=[f"controltower.{package}" for package in FOUND],
    package_dir={f"controltower.{folder}": folder for folder in FOLDERS},
)
