"""What is written for SRS and the nginx beside it, and which settings are refused. Text only: no SRS has read it."""

import re

import pytest

from config import ConfigError, from_env
from live.links import ingest, of_box
from media.servers import nginx_rtmp, srs

SECRET = "0123abc"


def settings(tmp_path, **more: str):
    own = {"DATA_DIR": str(tmp_path), "MEDIA_SERVER": "srs", "SRS": "/bin/true", "RTMP_PORT": "1940"}
    return from_env(own | {"PUBLIC_URL": "https://live.example.com"} | more)


def configured(tmp_path, **more: str) -> str:
    return srs.configuration(settings(tmp_path, **more), SECRET)


def problems(tmp_path, **more: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        settings(tmp_path, **more)
    return refusal.value.problems


def directives(text: str, name: str) -> list[str]:
    return re.findall(rf"^ *{name} (.*);$", text, re.MULTILINE)


def test_it_calls_our_hooks_and_guards_its_api(tmp_path):
    text = configured(tmp_path, SRS_API_PORT="1986")
    hook = f"http://127.0.0.1:8001/hooks/srs/{SECRET}"
    assert re.findall(r"^ +(on_\w+) (.*);$", text, re.MULTILINE) == [
        ("on_publish", hook),
        ("on_unpublish", hook),
        ("on_play", hook),
    ]
    assert directives(text, "listen") == ["1940", "127.0.0.1:1986"]
    assert directives(text, "password") == [SECRET]
    assert text.count("{") == text.count("}")


def test_nobody_plays_and_it_logs_no_name(tmp_path):
    text = configured(tmp_path)
    assert "security {\n        enabled on;\n        allow publish all;\n        deny play all;" in text
    assert directives(text, "srs_log_file") == ["/dev/null"]


def test_segments_go_through_the_link_by_the_names_that_the_packager_reads(tmp_path):
    text = configured(tmp_path)
    assert directives(text, "hls_path") == [str(tmp_path / "ingest")]
    assert directives(text, "hls_m3u8_file") == ["[stream]/index.m3u8"]
    assert directives(text, "hls_ts_file") == ["[stream]/[seq].ts"]
    assert (directives(text, "hls_cleanup"), directives(text, "hls_dispose")) == (["off"], ["0"])


@pytest.mark.parametrize(
    ("bind", "listens"),
    [("127.0.0.1", "127.0.0.1:1940"), ("192.0.2.7", "192.0.2.7:1940"), ("::1", "[::1]:1940")],
)
def test_it_listens_on_the_address_that_is_chosen(tmp_path, bind, listens):
    assert directives(configured(tmp_path, MEDIA_BIND=bind), "listen")[0] == listens


def test_without_being_told_that_it_can_there_is_neither_srt_nor_whip(tmp_path):
    text = configured(tmp_path)
    assert "srt" not in text.replace("/srs/", "")
    assert "rtc" not in text
    config = settings(tmp_path)
    assert (config.srt_url, config.whip_url) == (None, None)


def test_srt_and_whip_are_offered_with_the_token_in_them(tmp_path):
    more = {"SRS_SRT_PORT": "10080", "SRS_WHIP_PORT": "8000", "RTMP_URL": "rtmp://in.example.com/live"}
    text, config = configured(tmp_path, **more), settings(tmp_path, **more)
    assert "srt_server {\n    enabled on;\n    listen 10080;" in text
    assert "rtc_server {\n    enabled on;\n    listen 8000;" in text
    assert directives(text, "candidate") == ["in.example.com"]
    assert (directives(text, "srt_to_rtmp"), directives(text, "rtc_to_rtmp")) == (["on"], ["on"])
    assert text.count("{") == text.count("}")
    assert ingest(of_box(config), "TOKEN") == {
        "rtmp": "rtmp://in.example.com/live",
        "srt": "srt://in.example.com:10080?streamid=#!::r=live/TOKEN,m=publish",
        "whip": "https://live.example.com/rtc/v1/whip/?app=live&stream=TOKEN",
    }


def nginx(config) -> str:
    return nginx_rtmp.configuration(config, "aa", SECRET, "key", None)


def test_the_nginx_beside_it_serves_and_takes_nothing_in(tmp_path):
    text = nginx(settings(tmp_path, HTTP_PORT="8088"))
    assert "rtmp" not in text.replace(str(tmp_path), "")
    assert "location ~" in text


def test_of_its_api_nginx_lets_whip_through_and_nothing_else(tmp_path):
    text = nginx(settings(tmp_path, SRS_WHIP_PORT="8000", SRS_API_PORT="1986"))
    before, _, after = text.partition("proxy_pass http://127.0.0.1:1986;")
    assert re.findall(r"location .*{", before)[-1] == "location = /rtc/v1/whip/ {"
    assert ":1986" not in after
    assert "error_log /dev/null;" in before[-200:], "its address holds a streamToken"


def test_with_a_certificate_there_is_https_and_no_rtmps(tmp_path):
    config = settings(tmp_path, TLS_CERT="/c.pem", TLS_KEY="/k.pem")
    assert config.rtmps_url is None
    text = nginx(config)
    assert " ssl" in text
    assert "stream {" not in text


def test_without_the_program_it_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("config.srs_program", lambda: None)
    [problem] = problems(tmp_path, SRS="")
    assert problem.startswith("MEDIA_SERVER=srs needs SRS 5 or 6")
    [problem] = problems(tmp_path, SRS="/no/such/srs")
    assert problem.startswith("SRS must be a program")


@pytest.mark.parametrize("name", ["SRS_SRT_PORT", "SRS_WHIP_PORT"])
def test_what_would_listen_everywhere_is_refused_beside_an_address(tmp_path, name):
    [problem] = problems(tmp_path, MEDIA_BIND="192.0.2.7", **{name: "10080"})
    assert problem.startswith("MEDIA_BIND cannot be kept")


def test_its_ports_are_its_own(tmp_path):
    both = {"SRS_SRT_PORT": "8000", "SRS_WHIP_PORT": "8000"}
    assert problems(tmp_path, **both) == ["SRS_WHIP_PORT and SRS_SRT_PORT are the same port, 8000."]
    assert problems(tmp_path, SRS_API_PORT="1940") == ["SRS_API_PORT and RTMP_PORT are the same port, 1940."]


def test_debians_program_of_its_name_is_not_taken_for_it(tmp_path):
    other = tmp_path / "srs"
    other.write_text("#!/bin/sh\necho 'usage: srs [options]' >&2; exit 1\n")
    other.chmod(0o755)
    assert srs.version(str(other)) == ""
    assert srs.version(str(tmp_path / "none")) == ""
