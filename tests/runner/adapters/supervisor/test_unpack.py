"""Archives as they may come from any peer: what is in them lands in its folder or nowhere, and never without bounds."""

import contextlib
import gzip
import io
import os
import stat
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.adapters.supervisor import unpack as module
from runner.adapters.supervisor.unpack import Unwelcome, unpack

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"x", **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    return member(name, b"", type=kind, linkname=target)


def packed(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return whole.getvalue()


def refused(archive: bytes, place: Path) -> str:
    with pytest.raises(Unwelcome) as caught:
        unpack(archive, place / "folder")
    assert {path.name for path in place.iterdir()} <= {"folder"}
    return str(caught.value)


def test_folders_files_and_links_are_there_as_they_were(tmp_path: Path) -> None:
    folder = member("a", b"", type=tarfile.DIRTYPE)
    archive = packed(
        member(".", b"", type=tarfile.DIRTYPE, mode=0o777),
        folder,
        member("./a/one", b"1"),
        member("deep/er/two", b"2", mode=0o6755),
        link("deep/er/up", "../../a/one"),
        link("dangling", "not/there"),
        link("same", "a/one", tarfile.LNKTYPE),
    )
    unpack(archive, tmp_path / "folder")
    there = tmp_path / "folder"
    assert (there / "a" / "one").read_bytes() == b"1"
    assert os.access(there / "deep" / "er" / "two", os.X_OK)
    assert stat.S_IMODE((there / "deep" / "er" / "two").stat().st_mode) & 0o7022 == 0, "no setuid, no sharing"
    assert os.readlink(there / "dangling") == "not/there"
    assert (there / "deep" / "er" / "up").read_bytes() == (there / "same").read_bytes() == b"1"
    assert stat.S_IMODE(there.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([member("../out")], "has a member '../out', which may be outside of it"),
        ([member("a/../../out")], "which may be outside of it"),
        ([member("/tmp/out")], "has a member '/tmp/out', which is outside of it"),
        ([member("", b"")], "which is no name"),
        ([member("./.")], "which is no name"),
        ([member("n" * 300)], "which is longer than a name can be"),
        ([member("/".join(["deep"] * 1000))], "which is longer than a name can be"),
        ([link("l", "/etc/passwd")], "'l' as a link to '/etc/passwd', which is outside of it"),
        ([link("l", "../out")], "which is outside of it"),
        ([link("a/l", "../../out")], "which is outside of it"),
        ([link("l", "."), link("m", "l/..")], "'m' as a link to 'l/..', which is outside of it"),
        ([link("a/l", "../b/../c")], "which is outside of it"),
        ([link("l", "")], "as a link to '', which is outside of it"),
        ([link("l", "a"), member("l/through")], "'l/through', which is below something that is no folder"),
        ([link("l", "."), member("l", b"x")], "it has 'l' twice"),
        ([member("f"), member("f/below")], "which is below something that is no folder"),
        ([member("f"), member("f")], "it has 'f' twice"),
        ([link("l", "a"), member("l", b"", type=tarfile.DIRTYPE)], "it has 'l' twice"),
        ([link("h", "../out", tarfile.LNKTYPE)], "has a link to '../out', which may be outside of it"),
        ([link("h", "/etc/passwd", tarfile.LNKTYPE)], "which is outside of it"),
        ([link("l", "a"), link("h", "l", tarfile.LNKTYPE)], "'h' as a second name of 'l', which is no file before it"),
        ([link("h", "nothing", tarfile.LNKTYPE)], "which is no file before it"),
        ([member("d", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=8)], "'d', which is no file, folder or link"),
        ([member("d", b"", type=tarfile.BLKTYPE)], "which is no file, folder or link"),
        ([member("p", b"", type=tarfile.FIFOTYPE)], "which is no file, folder or link"),
        ([member("s", b"", type=tarfile.GNUTYPE_SPARSE)], ""),
    ],
)
def test_what_is_odd_is_refused_in_words(tmp_path: Path, members: list[Member], why: str) -> None:
    assert why in refused(packed(*members), tmp_path)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("odd", [member("a\0b"), link("l", "a\0b")], ids=["name", "target"])
def test_nothing_may_stand_behind_the_end_of_a_name(tmp_path: Path, odd: Member, form: int) -> None:
    assert "it has b'a\\x00b', which has a NUL in it" in refused(packed(odd, form=form), tmp_path)


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    info, content = member("plain")
    info.pax_headers = {"path": "a\0b"}
    assert "'a\\x00b', which has a NUL in it" in refused(packed((info, content)), tmp_path)
    target, _ = link("l", "plain")
    target.pax_headers = {"linkpath": "a\0b"}
    (tmp_path / "folder").rmdir()
    assert "as a link to 'a\\x00b'" in refused(packed((target, b"")), tmp_path)


def sized(tmp_path: Path, archive: bytes) -> tuple[str, int]:
    """Why it is refused, and how much memory that took."""
    tracemalloc.start()
    try:
        why = refused(archive, tmp_path)
        return why, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def zeros(size: int) -> bytes:
    """So many zeros, packed a thousand times smaller."""
    whole = io.BytesIO()
    with gzip.GzipFile(fileobj=whole, mode="wb") as stream:
        for _ in range(size >> 20):
            stream.write(bytes(1 << 20))
    return whole.getvalue()


def headed(info: tarfile.TarInfo, size: int) -> bytes:
    """A header that claims `size` bytes, and as many zeros."""
    info.size = size
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT)) + zeros(size)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: headed(tarfile.TarInfo("big"), 8 << 20), "more than 2 MiB, unpacked (with 'big')"),
        (lambda: packed(*(member(f"f{i}", bytes(1 << 19)) for i in range(9))), "more than 2 MiB, unpacked (with 'f4')"),
        (lambda: packed(member("small")) + zeros(64 << 20), "more than 2 MiB, unpacked"),
        (lambda: headed(_typed("x", tarfile.GNUTYPE_LONGNAME), 64 << 20), "a header in it claims 67108864 bytes"),
        (lambda: headed(_typed("x", tarfile.XHDTYPE), 64 << 20), "a header in it claims 67108864 bytes"),
        (lambda: headed(_typed("x", tarfile.XGLTYPE), 1 << 40 >> 10), "a header in it claims"),
        (lambda: bytes(17 << 20), "more than 16 MiB, packed"),
        (lambda: packed(*(member(f"f{i}", b"") for i in range(50))), "more than 40 files, folders and links"),
    ],
)
def test_a_bomb_is_refused_before_it_takes_memory_or_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], bytes], why: str
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 2 << 20)
    monkeypatch.setattr(module, "MOST_MEMBERS", 40)
    archive = make()
    said, memory = sized(tmp_path, archive)
    assert why in said
    assert memory < 4 << 20
    assert sum(path.lstat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 2 << 20


def _typed(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    return info


names = st.text("ab./\0é", min_size=0, max_size=8)
members = st.lists(
    st.builds(
        lambda name, kind, target, content: member(
            name, content if kind in (tarfile.REGTYPE, tarfile.CONTTYPE) else b"", type=kind, linkname=target
        ),
        names,
        st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]),
        names,
        st.binary(max_size=4),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
def test_whatever_is_in_an_archive_nothing_gets_out_of_its_folder(
    tmp_path_factory: pytest.TempPathFactory, found: list[Member], form: int
) -> None:
    outer = tmp_path_factory.mktemp("outer")
    (outer / "a").write_text("not yours")
    try:
        archive = packed(*found, form=form)
    except (ValueError, OSError):
        return
    with contextlib.suppress(Unwelcome, OSError):
        unpack(archive, outer / "folder")
    assert {path.name for path in outer.iterdir()} == {"a", "folder"}
    assert (outer / "a").read_text() == "not yours"
    real = os.path.realpath(outer / "folder")
    for path in (outer / "folder").rglob("*"):
        assert Path(os.path.realpath(path)).is_relative_to(real)
        assert path.is_symlink() or path.is_file() or path.is_dir()
