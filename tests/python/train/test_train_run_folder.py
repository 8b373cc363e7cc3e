"""Run folders: whole or not there, whatever goes wrong while they are written."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from chainrule.files import replace_file
from chainrule.train import RunFolder, RunFolderError
from chainrule.train import run_folder as module
from chainrule.train.run_folder import CHECKPOINT

FILES = {CHECKPOINT: b"c", "metrics.csv": b"m"}


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_new_folder_appears_with_all_its_files(tmp_path):
    folder = RunFolder.named(str(tmp_path / "a" / "b" / "run"))
    assert not folder.exists and list(tmp_path.iterdir()) == []
    folder.write(FILES)
    assert folder.exists and contents(folder.path) == FILES
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["run"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o777 & ~mask
    folder.release()


def test_files_of_a_folder_are_replaced(tmp_path):
    folder = RunFolder.named(str(tmp_path / "run"))
    folder.write(FILES)
    folder.write({CHECKPOINT: b"new", "report.html": b"r"})
    assert contents(folder.path) == FILES | {CHECKPOINT: b"new", "report.html": b"r"}
    folder.release()


def test_an_empty_folder_may_become_a_run(tmp_path):
    (tmp_path / "run").mkdir()
    folder = RunFolder.named(str(tmp_path / "run"))
    folder.write(FILES)
    assert contents(tmp_path / "run") == FILES
    folder.release()


@pytest.mark.parametrize("parent", ["", "deep/er"])
def test_next_free_takes_the_first_number_that_is_free(tmp_path, parent):
    parent = tmp_path / parent
    names = []
    for _ in range(3):
        folder = RunFolder.next_free("digits", "mlp", parent)
        folder.write(FILES)
        folder.release()
        names.append(folder.path.name)
    assert names == ["digits-mlp-1", "digits-mlp-2", "digits-mlp-3"]


def test_next_free_moves_on_when_another_run_takes_its_name(tmp_path):
    one, other = (RunFolder.next_free("digits", "mlp", tmp_path) for _ in range(2))
    assert one.path == other.path
    one.write(FILES)
    other.write(FILES)
    assert (one.path.name, other.path.name) == ("digits-mlp-1", "digits-mlp-2")
    one.release(), other.release()


def test_a_fixed_name_that_another_run_takes_meanwhile_stays_theirs(tmp_path):
    one, other = (RunFolder.named(str(tmp_path / "run")) for _ in range(2))
    one.write(FILES)
    with pytest.raises(RunFolderError, match="run is being trained by another process"):
        other.write({CHECKPOINT: b"other"})
    assert contents(tmp_path / "run") == FILES and not other.exists
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    one.release()


def test_folder_that_is_in_the_way_is_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, message in [
        ("full", "is not empty: name another folder"),
        ("file", "is there and no folder: name another"),
        ("dangling", "is there and no folder"),
        ("file/run", "file is no folder"),
        ("n" * 300, "File name too long"),
    ]:
        with pytest.raises(RunFolderError, match=f"^out: .*{message}") as caught:
            RunFolder.named(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_folder_whose_name_just_fits_is_made(tmp_path):
    folder = RunFolder.named(str(tmp_path / ("n" * 255)))
    folder.write(FILES)
    assert folder.exists
    folder.release()


def test_folder_that_cannot_be_made_is_refused_before_any_work(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(module.tempfile, "mkdtemp", refuse)
    for make in (lambda: RunFolder.named(str(tmp_path / "x" / "y")), lambda: RunFolder.next_free("d", "m")):
        with pytest.raises(RunFolderError, match=r"^out: .* cannot be made: Permission denied"):
            make()


def test_open_wants_a_folder_with_a_checkpoint(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, message in [
        ("absent", "absent is no folder: name the folder of a run"),
        ("file", "file is no folder"),
        ("empty", "empty holds no checkpoint.safetensors"),
        ("n" * 300, "File name too long"),
    ]:
        with pytest.raises(RunFolderError, match=f"^run: .*{message}"):
            RunFolder.open(str(tmp_path / name))


# What can go wrong while writing


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["fsync", "replace", "rename"])
@pytest.mark.parametrize("succeed", [0, 1, 2, 3])
def test_a_failure_while_a_folder_is_made_leaves_nothing(tmp_path, monkeypatch, error, call, succeed):
    real, calls = getattr(os, call), []

    def fail_later(*args, **kwargs):
        calls.append(args)
        if len(calls) > succeed:
            raise error
        return real(*args, **kwargs)

    folder = RunFolder.named(str(tmp_path / "run"))
    monkeypatch.setattr(os, call, fail_later)
    try:
        folder.write(FILES)
    except type(error):
        pass
    monkeypatch.undo()
    if folder.exists:  # the failure came after the folder was whole
        assert contents(tmp_path / "run") == FILES
    else:
        assert list(tmp_path.iterdir()) == []
    folder.release()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_while_a_file_is_replaced_leaves_the_old_one(tmp_path, monkeypatch, error, call):
    path = tmp_path / "file"
    replace_file(path, b"old")

    def fail(*args):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)):
        replace_file(path, b"new")
    monkeypatch.undo()
    assert contents(tmp_path) == {"file": b"old"}


WRITER = """
import sys
from pathlib import Path
from chainrule.files import replace_file
for _ in range(200):
    replace_file(Path(sys.argv[1]), sys.argv[2].encode() * int(sys.argv[3]))
"""


def test_several_writers_of_one_file_never_leave_a_part(tmp_path):
    path, contents_of = tmp_path / "file", {}
    writers = []
    for letter, count in (("a", 300_000), ("b", 70_000), ("c", 3)):
        contents_of[letter] = letter.encode() * count
        writers.append(subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter, str(count)]))
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            content = path.read_bytes()
            seen.add(content[:1])
            assert content == contents_of[content[:1].decode()]
    assert [writer.wait() for writer in writers] == [0, 0, 0] and len(seen) > 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_left_is_written_over(tmp_path):
    (tmp_path / ".file.new").write_bytes(b"a part of a long content")
    replace_file(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"new"}


def test_an_interruption_right_after_the_renaming_still_finds_the_run(tmp_path, monkeypatch):
    real = os.rename

    def rename(*args):
        real(*args)
        raise KeyboardInterrupt

    folder = RunFolder.named(str(tmp_path / "run"))
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        folder.write(FILES)
    monkeypatch.undo()
    assert folder.exists and contents(tmp_path / "run") == FILES
    folder.release()


# One process trains in a folder


def test_a_run_is_kept_from_other_processes_until_it_is_released(tmp_path):
    folder = RunFolder.named(str(tmp_path / "run"))
    folder.write(FILES)
    with pytest.raises(RunFolderError, match="is being trained by another process"):
        RunFolder.open(str(tmp_path / "run")).claim()
    code = (
        "import sys; from chainrule.train import RunFolder, RunFolderError\n"
        "try: RunFolder.open(sys.argv[1]).claim()\n"
        "except RunFolderError: sys.exit(7)"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    assert subprocess.run(command).returncode == 7
    folder.release()
    assert subprocess.run(command).returncode == 0


def test_a_file_system_without_locks_is_no_hindrance(tmp_path, monkeypatch):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module.fcntl, "flock", no_locks)
    folder = RunFolder.named(str(tmp_path / "run"))
    folder.write(FILES)
    folder.claim()
    folder.release()


@pytest.mark.parametrize("how", ["here", "link", "plain"])
def test_an_empty_folder_of_any_kind_is_filled_where_it_is(tmp_path, monkeypatch, how):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    (tmp_path / "link").symlink_to("empty")
    before = (tmp_path / "empty").stat().st_ino
    folder = RunFolder.named(
        {"here": ".", "link": str(tmp_path / "link"), "plain": str(tmp_path / "empty")}[how]
    )
    folder.write(FILES)
    assert folder.exists and contents(tmp_path / "empty") == FILES
    assert (tmp_path / "empty").stat().st_ino == before and (tmp_path / "link").is_symlink()
    with pytest.raises(RunFolderError, match="is being trained by another process"):
        RunFolder.open(str(tmp_path / "empty")).claim()
    folder.release()


def test_a_folder_that_cannot_be_filled_is_empty_again(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    folder = RunFolder.named(str(tmp_path / "run"))

    def fail(path, content):
        if path.name != CHECKPOINT:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(path, content)

    monkeypatch.setattr(module, "replace_file", fail)
    with pytest.raises(OSError, match="No space left"):
        folder.write(FILES)
    assert not folder.exists and list((tmp_path / "run").iterdir()) == []
    monkeypatch.undo()
    folder.write(FILES)  # nobody keeps it
    assert contents(tmp_path / "run") == FILES
    folder.release()


def test_a_folder_that_another_run_has_filled_meanwhile_is_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    folder = RunFolder.named(str(tmp_path / "run"))
    (tmp_path / "run" / "other").write_bytes(b"o")
    with pytest.raises(RunFolderError, match="run is not empty: name another folder"):
        folder.write(FILES)
    assert contents(tmp_path / "run") == {"other": b"o"} and not folder.exists
