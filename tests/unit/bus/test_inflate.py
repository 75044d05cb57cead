"""Decompression gives what was compressed, or says why not, and never more than the limit."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.raw_batches import CODECS, COMPRESS, GZIP, LZ4, SNAPPY, ZSTD

from bus.kafka.inflate import NotInflatable, TooLarge, inflate

each_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
CONTENT = os.urandom(1000) * 100


@each_codec
@pytest.mark.parametrize("content", [b"a", CONTENT, os.urandom(100_000)])
def test_what_was_compressed_comes_back(codec: int, content: bytes) -> None:
    assert inflate(codec, bytes(COMPRESS[codec](content))) == content


@each_codec
def test_the_limit_is_exact(codec: int) -> None:
    compressed = bytes(COMPRESS[codec](CONTENT))
    assert inflate(codec, compressed, len(CONTENT)) == CONTENT
    with pytest.raises(TooLarge, match="more than 99,999 bytes"):
        inflate(codec, compressed, len(CONTENT) - 1)


@each_codec
def test_kilobytes_that_are_gigabytes_stop_at_the_limit(codec: int) -> None:
    compressed = bytes(COMPRESS[codec](bytes(50 << 20)))
    with pytest.raises(TooLarge):
        inflate(codec, compressed, 1 << 20)


@pytest.mark.parametrize("codec", [-1, 0, 5, 6, 7])
def test_a_codec_that_is_not_known_is_refused(codec: int) -> None:
    with pytest.raises(NotInflatable, match="is unknown"):
        inflate(codec, b"x")


@each_codec
@given(st.data())
def test_any_bytes_are_refused_or_read_and_nothing_else_is_raised(
    codec: int, data: st.DataObject
) -> None:
    good = bytes(COMPRESS[codec](b"content" * 20))
    content = bytearray(data.draw(st.binary(max_size=200) | st.just(good)))
    for at in data.draw(st.lists(st.integers(0, 300), max_size=4)):
        if at < len(content):
            content[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(NotInflatable):
        assert len(inflate(codec, bytes(content), 1000)) <= 1000


def test_several_members_of_gzip_are_one_and_too_many_are_refused() -> None:
    member = gzip.compress(b"part")
    assert inflate(GZIP, member * 3) == b"part" * 3
    with pytest.raises(NotInflatable, match="members"):
        inflate(GZIP, member * 17)


@pytest.mark.parametrize("size", [0, -4, 2**31 - 1])
def test_a_block_of_snappy_that_leads_nowhere_is_refused(size: int) -> None:
    head = bytes(COMPRESS[SNAPPY](b"content"))[:16]
    with pytest.raises(NotInflatable, match="a block of"):
        inflate(SNAPPY, head + struct.pack(">i", size) + b"x")


@pytest.mark.parametrize(("codec", "module"), [(LZ4, cramjam.lz4), (ZSTD, cramjam.zstd)])
def test_cramjam_says_in_the_same_words_that_its_output_does_not_fit(
    codec: int, module: object
) -> None:
    compressed = bytes(COMPRESS[codec](CONTENT))
    with pytest.raises(cramjam.DecompressionError, match="failed to write whole buffer"):
        module.decompress_into(compressed, bytearray(10))  # type: ignore[attr-defined]
