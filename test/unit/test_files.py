"""Files that two write at the same moment are one's or the other's, whole."""

from __future__ import annotations

import threading
from pathlib import Path

from robomd_ros.core.errors import StorageError
from robomd_ros.core.files import write_atomic


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    path, errors = tmp_path / "embedding.safetensors", []
    contents = [bytes([n]) * 2_000_000 for n in range(4)]
    start = threading.Barrier(len(contents))

    def write(data: bytes) -> None:
        start.wait()
        for _ in range(5):
            try:
                write_atomic(path, data)
            except StorageError as error:
                errors.append(error)
            assert path.read_bytes() in contents

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
