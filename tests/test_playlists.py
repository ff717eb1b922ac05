"""Playlists as they are written and read (RFC 8216)."""

import pytest

from media import playlists
from media.playlists import Entry, MediaPlaylist, Variant


def of(*entries: Entry) -> MediaPlaylist:
    made = MediaPlaylist()
    for entry in entries:
        made.add(entry)
    return made


def test_what_is_written_is_read_again():
    made = of(Entry("a/0.ts", 1.001, 1790000000123), Entry("b/0.ts", 2.5, 1790000009000, broken=True))
    made.first, made.breaks = 41, 3
    assert playlists.parse(playlists.media(made)) == made


@pytest.mark.parametrize(
    ("seconds", "target"), [(0.3, 1), (1.022, 1), (1.499, 1), (1.5, 2), (4.0, 4), (9.6, 10)]
)
def test_the_target_is_the_longest_to_the_nearest_second(seconds, target):
    assert of(Entry("0.ts", 0.1), Entry("1.ts", seconds)).target == target


def test_what_leaves_at_the_top_is_counted():
    made = of(*(Entry(f"{n}.ts", 1.0, broken=n in (2, 4)) for n in range(6)))
    assert [entry.uri for entry in made.trim(3.0)] == ["0.ts", "1.ts", "2.ts"]
    assert (made.first, made.breaks, made.next_number) == (3, 1, 6)


def test_a_playlist_keeps_three_entries_however_long_they_are():
    made = of(*(Entry(f"{n}.ts", 30.0) for n in range(5)))
    made.trim(10.0)
    assert len(made.entries) == 3


def test_a_playlist_that_is_over_says_so():
    text = playlists.media(of(Entry("0.ts", 1.0)), over=True)
    assert "#EXT-X-PLAYLIST-TYPE:VOD\n" in text
    assert text.endswith("0.ts\n#EXT-X-ENDLIST\n")


def test_thirds_of_a_second_promise_no_key_frame_at_their_beginning():
    assert "INDEPENDENT" not in playlists.media(of(Entry("0.ts", 0.3)), independent=False)
    assert "INDEPENDENT" in playlists.media(of(Entry("0.ts", 1.0)))


def test_a_variant_says_what_is_known_of_it_and_no_more():
    full = Variant("source.m3u8", 2_500_000, 2_000_000, "avc1.64001f,mp4a.40.2", (1280, 720), 29.97)
    assert (
        "#EXT-X-STREAM-INF:BANDWIDTH=2500000,AVERAGE-BANDWIDTH=2000000,RESOLUTION=1280x720,FRAME-RATE=29.970,"
        'CODECS="avc1.64001f,mp4a.40.2"\nsource.m3u8\n'
    ) in playlists.master([full])
    sound = Variant("source.m3u8", 100_000, 96_000, "mp4a.40.2")
    assert '=100000,AVERAGE-BANDWIDTH=96000,CODECS="mp4a.40.2"\n' in playlists.master([sound])
