"""Where images come from, as a user writes it."""

import os
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.location import Location, local_path, parse_location, split_s3_url


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://shop", "shop", ""),
        ("s3://shop/", "shop", ""),
        ("s3://shop/cam1", "shop", "cam1"),
        ("s3://shop/a b/%20?#x//y", "shop", "a b/%20?#x//y"),
    ],
)
def test_a_bucket_and_prefix_are_taken_as_they_are(text: str, bucket: str, prefix: str) -> None:
    assert parse_location(text) == Location(url=f"s3://{bucket}/{prefix}", bucket=bucket, prefix=prefix)


def test_a_folder_becomes_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my photos").mkdir()
    monkeypatch.chdir(tmp_path)
    source = parse_location("./my photos")
    assert source.bucket == str(tmp_path / "my photos")
    assert source.url == f"file://{tmp_path}/my%20photos"
    assert source.prefix == ""


def test_all_spellings_of_a_folder_are_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a%20b #?é"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = parse_location(str(folder))
    for text in (expected.url, f"{folder}/", f"{folder}/../a%20b #?é", str(tmp_path / "link"), "~/a%20b #?é"):
        assert parse_location(text) == expected
    assert parse_location(expected.url.replace("file://", "file://localhost")) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty text"),
        ("s3://", "no bucket"),
        ("s3:///key", "no bucket"),
        ("gs://shop/x", "scheme 'gs' is unknown"),
        ("S3://shop", "scheme 'S3' is unknown"),
        ("file://photos/2024", "found host 'photos'"),
        ("file://", "found host ''"),
        ("file://[bad", "found host"),
        ("~nobody-of-this-name/photos", "no such user's home"),
        ("/no/such/folder", "does not exist"),
        ("file:///no/such%00folder", "does not exist"),
        ("x" * 5000, "cannot be opened: File name too long"),
    ],
)
def test_a_source_that_cannot_be_is_refused_with_a_reason(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_location(text)


def test_a_file_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ConfigError, match="is a file; a folder"):
        parse_location(str(tmp_path / "a.jpg"))


def test_a_folder_whose_path_is_not_unicode_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).mkdir()
    for text in (str(tmp_path / name), f"file://{tmp_path}/caf%E9", f"file://{tmp_path}/{name}"):
        with pytest.raises(ConfigError, match=r"not valid UTF-8") as caught:
            parse_location(text)
        assert str(caught.value).isprintable()


def test_the_path_of_a_file_need_not_be_unicode() -> None:
    assert os.fsencode(local_path("file:///in/caf%E9.jpg")) == b"/in/caf\xe9.jpg"


def test_the_key_of_an_object_is_not_unescaped() -> None:
    assert split_s3_url("s3://shop/a%20b?versionId=1#x") == ("shop", "a%20b?versionId=1#x")
