"""Downloads from a real server: whole, resumed, from several mirrors, and every way in which they must fail."""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from redpak.errors import RedpakError, Refused
from redpak.packages.access import Access, access_of, origin, shown
from redpak.packages.blobs import Blobs, checksum
from redpak.packages.fetch import FetchFailed, Wanted, fetch, get, local_path
from redpak.packages.repoconfig import RepoConfig
from tests.patience import PATIENCE_S
from tests.webserver import Web, self_signed, serving

BIG = os.urandom(300_000)
PATIENT = Access(timeout=PATIENCE_S)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "big.rpm").write_bytes(BIG)
    with serving(folder) as one:
        yield one


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def wanted(*urls: str, data: bytes = BIG, name: str = "big.rpm", access: Access = PATIENT) -> Wanted:
    return Wanted(name=name, urls=urls, size=len(data), checksum=digest(data), access=access)


def reasons(caught: pytest.ExceptionInfo[FetchFailed], name: str = "big.rpm") -> str:
    return " | ".join(caught.value.failed[name])


class Heard:
    """Progress that is written down."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def start(self, total_bytes: int, count: int) -> None:
        self.said.append(("start", total_bytes, count))

    def update(self, name: str, done: int, total: int) -> None:
        self.said.append(("update", name, done, total))

    def finished(self, name: str) -> None:
        self.said.append(("finished", name))

    def failed(self, name: str, why: str) -> None:
        self.said.append(("failed", name, why))


def test_a_file_is_fetched_once_and_kept_by_its_digest(web: Web, tmp_path: Path) -> None:
    heard = Heard()
    path = fetch([wanted(f"{web.url}/big.rpm")], cache=str(tmp_path / "c"), progress=heard)["big.rpm"]
    assert Path(path).read_bytes() == BIG
    hexed = digest(BIG).partition(":")[2]
    assert path == str(tmp_path / "c/blobs/sha256" / hexed[:2] / hexed)
    assert heard.said[0] == ("start", len(BIG), 1)
    assert heard.said[-1] == ("finished", "big.rpm")
    again = fetch([wanted("http://127.0.0.1:9/elsewhere")], cache=str(tmp_path / "c"))
    assert again == {"big.rpm": path}
    assert len(web.asked) == 1
    assert not list((tmp_path / "c/partial").iterdir())


def test_a_file_of_the_cache_that_changed_is_fetched_anew(web: Web, tmp_path: Path) -> None:
    cache = str(tmp_path / "c")
    path = fetch([wanted(f"{web.url}/big.rpm")], cache=cache)["big.rpm"]
    Path(path).write_bytes(bytes([BIG[0] ^ 1]) + BIG[1:])
    assert Path(fetch([wanted(f"{web.url}/big.rpm")], cache=cache)["big.rpm"]).read_bytes() == BIG
    assert len(web.asked) == 2


def test_what_others_may_have_written_is_never_trusted_unread(tmp_path: Path) -> None:
    store = Blobs(str(tmp_path))
    path = Path(store.path(digest(b"x")))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"y")
    assert store.find(digest(b"x"), size=1, rehash=False) == str(path)
    path.chmod(0o666)
    assert store.find(digest(b"x"), size=1, rehash=False) == ""


def test_a_download_goes_on_where_it_broke_off(web: Web, tmp_path: Path) -> None:
    web.cut["/big.rpm"] = [100_000]
    path = fetch([wanted(f"{web.url}/big.rpm")], cache=str(tmp_path / "c"))["big.rpm"]
    assert Path(path).read_bytes() == BIG
    headers = web.asked[1][1]
    assert headers["Range"].startswith("bytes=")
    assert int(headers["Range"][6:-1]) > 0
    assert headers["If-Range"].startswith('"')


def test_another_run_goes_on_and_another_mirror_too(web: Web, tmp_path: Path) -> None:
    cache = str(tmp_path / "c")
    web.cut["/big.rpm"] = [50_000] * 9
    with pytest.raises(FetchFailed):
        fetch([wanted(f"{web.url}/big.rpm", access=PATIENT.but(retries=1))], cache=cache)
    web.cut.clear()
    with serving(web.folder) as other:
        path = fetch([wanted(f"{other.url}/big.rpm")], cache=cache)["big.rpm"]
        assert other.asked[0][1]["Range"] == "bytes=50000-"
        assert "If-Range" not in other.asked[0][1]
    assert Path(path).read_bytes() == BIG


def test_a_part_that_does_not_fit_is_thrown_away(web: Web, tmp_path: Path) -> None:
    cache = str(tmp_path / "c")
    partial = Blobs(cache).partial(digest(BIG).replace(":", "-"))
    Path(partial).write_bytes(b"something else" * 100)
    path = fetch([wanted(f"{web.url}/big.rpm")], cache=cache)["big.rpm"]
    assert Path(path).read_bytes() == BIG
    assert [("Range" in headers) for _, headers in web.asked] == [True, False]


def test_a_server_without_ranges_sends_the_whole_again(web: Web, tmp_path: Path) -> None:
    web.ranges = False
    web.cut["/big.rpm"] = [100_000]
    path = fetch([wanted(f"{web.url}/big.rpm")], cache=str(tmp_path / "c"))["big.rpm"]
    assert Path(path).read_bytes() == BIG


def test_the_next_mirror_is_asked_when_one_has_it_not(web: Web, tmp_path: Path) -> None:
    urls = ("http://127.0.0.1:1/big.rpm", f"{web.url}/nope/big.rpm", f"{web.url}/big.rpm")
    path = fetch([wanted(*urls)], cache=str(tmp_path / "c"))["big.rpm"]
    assert Path(path).read_bytes() == BIG
    assert web.paths() == ["/nope/big.rpm", "/big.rpm"]


def test_a_mirror_with_another_file_is_passed_over(web: Web, tmp_path: Path) -> None:
    web.replaced["/bad/big.rpm"] = BIG[:-1] + bytes([BIG[-1] ^ 1])
    urls = (f"{web.url}/bad/big.rpm", f"{web.url}/big.rpm")
    path = fetch([wanted(*urls)], cache=str(tmp_path / "c"))["big.rpm"]
    assert Path(path).read_bytes() == BIG


def test_every_reason_is_told_when_no_mirror_has_it(web: Web, tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(f"{web.url}/a", f"{web.url}/b")], cache=str(tmp_path / "c"), progress=heard)
    assert reasons(caught) == f"Status code: 404 for {web.url}/a | Status code: 404 for {web.url}/b"
    assert heard.said[-1][:2] == ("failed", "big.rpm")


def test_a_server_in_trouble_is_asked_again(web: Web, tmp_path: Path) -> None:
    web.broken["/big.rpm"] = 503
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(f"{web.url}/big.rpm")], cache=str(tmp_path / "c"))
    assert web.paths() == ["/big.rpm"] * 3
    assert "Status code: 503" in reasons(caught)


def test_a_truncated_file_is_refused(web: Web, tmp_path: Path) -> None:
    web.replaced["/big.rpm"] = BIG[:1000]
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(f"{web.url}/big.rpm")], cache=str(tmp_path / "c"))
    assert f"the server has 1000 bytes instead of {len(BIG)}" in reasons(caught)


def test_an_endless_answer_is_cut_off(web: Web, tmp_path: Path) -> None:
    web.endless.add("/big.rpm")
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(f"{web.url}/big.rpm")], cache=str(tmp_path / "c"))
    assert f"the server sends more than {len(BIG)} bytes" in reasons(caught)
    with pytest.raises(FetchFailed) as caught:
        get([f"{web.url}/big.rpm"], access=PATIENT, limit=100_000)
    assert "more than 100000 bytes" in reasons(caught, "")


def test_another_digest_is_refused_by_name(web: Web, tmp_path: Path) -> None:
    wrong = bytes([BIG[0] ^ 1]) + BIG[1:]
    web.replaced["/big.rpm"] = wrong
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(f"{web.url}/big.rpm")], cache=str(tmp_path / "c"))
    assert f"digest {digest(wrong)} instead of {digest(BIG)}" in reasons(caught)
    assert not (tmp_path / "c/blobs").exists()


def test_many_files_come_at_the_same_time(web: Web, tmp_path: Path) -> None:
    many = {f"f{n}": os.urandom(2000 + n) for n in range(40)}
    for name, data in many.items():
        (web.folder / name).write_bytes(data)
    jobs = [wanted(f"{web.url}/{name}", data=data, name=name) for name, data in many.items()]
    heard = Heard()
    paths = fetch(jobs, cache=str(tmp_path / "c"), parallel=4, progress=heard)
    assert {name: Path(path).read_bytes() for name, path in paths.items()} == many
    assert sum(1 for said in heard.said if said[0] == "finished") == 40


def test_the_first_failure_stops_the_rest_and_names_itself(web: Web, tmp_path: Path) -> None:
    jobs = [wanted(f"{web.url}/nope", name="gone"), wanted(f"{web.url}/big.rpm")]
    with pytest.raises(FetchFailed) as caught:
        fetch(jobs, cache=str(tmp_path / "c"), parallel=1)
    assert list(caught.value.failed) == ["gone"]
    assert web.paths() == ["/nope"]


def test_a_file_that_two_want_at_once_comes_once(web: Web, tmp_path: Path) -> None:
    web.gate.clear()
    job = [wanted(f"{web.url}/big.rpm", access=PATIENT)]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fetch, job, cache=str(tmp_path / "c")) for _ in range(2)]
        web.gate.set()
        first, second = (one.result() for one in both)
    assert first == second
    assert len(web.asked) == 1


def test_a_full_disk_is_told_and_what_came_is_kept(web: Web, tmp_path: Path) -> None:
    cache = str(tmp_path / "c")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(RedpakError, match=r"cannot keep 'big\.rpm': file too large"):
            fetch([wanted(f"{web.url}/big.rpm")], cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(web.asked) == 1  # it is no mirror's fault
    assert fetch([wanted(f"{web.url}/big.rpm")], cache=cache)
    assert "Range" in web.asked[1][1]


def test_a_cache_that_cannot_be_written_is_told(web: Web, tmp_path: Path) -> None:
    (tmp_path / "c").write_text("a file")
    with pytest.raises(RedpakError, match="cannot make the cache directory"):
        fetch([wanted(f"{web.url}/big.rpm")], cache=str(tmp_path / "c"))


def test_a_server_that_never_answers_is_given_up(web: Web, tmp_path: Path) -> None:
    web.gate.clear()
    hasty = Access(timeout=0.1, retries=1)
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(f"{web.url}/big.rpm", access=hasty)], cache=str(tmp_path / "c"))
    assert f"no answer in time: {web.url}/big.rpm" in reasons(caught)
    web.gate.set()


def test_a_server_that_is_too_slow_is_given_up(web: Web, tmp_path: Path) -> None:
    web.endless.add("/big.rpm")
    # For so long it may be slow, and for so long there may be no answer at all.
    greedy = Access(timeout=2.0, minrate=1 << 50, retries=1)
    job = Wanted(name="x", urls=(f"{web.url}/big.rpm",), access=greedy)
    with pytest.raises(FetchFailed) as caught:
        fetch([job], cache=str(tmp_path / "c"))
    assert f"slower than {1 << 50} bytes a second" in reasons(caught, "x")


def test_one_family_of_addresses_can_be_asked_for(web: Web, tmp_path: Path) -> None:
    assert fetch(
        [wanted(f"{web.url}/big.rpm", access=PATIENT.but(ip_resolve="ipv4"))], cache=str(tmp_path / "c")
    )
    with pytest.raises(FetchFailed) as caught:
        only = PATIENT.but(ip_resolve="ipv6", retries=1)
        fetch([wanted(f"{web.url}/big.rpm", access=only)], cache=str(tmp_path / "d"))
    assert "cannot resolve the host's name" in reasons(caught)


def test_no_more_mirrors_are_tried_than_make_sense(web: Web, tmp_path: Path) -> None:
    urls = tuple(f"{web.url}/{n}/big.rpm" for n in range(100))
    with pytest.raises(FetchFailed):
        fetch([wanted(*urls)], cache=str(tmp_path / "c"))
    assert len(web.asked) == 20
    with pytest.raises(FetchFailed):
        get(urls, access=PATIENT)
    assert len(web.asked) == 40


def test_redirects_are_followed_but_not_in_circles(web: Web, tmp_path: Path) -> None:
    web.redirects = {"/a": "/big.rpm", "/circle": "/circle"}
    assert fetch([wanted(f"{web.url}/a")], cache=str(tmp_path / "c"))
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(f"{web.url}/circle")], cache=str(tmp_path / "d"))
    assert "more than 8 redirects" in reasons(caught)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", ""])
def test_redirects_lead_to_http_only(web: Web, tmp_path: Path, target: str) -> None:
    web.redirects = {"/a": target}
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(f"{web.url}/a")], cache=str(tmp_path / "c"))
    assert "which is no http or https URL" in reasons(caught)


def test_tls_is_checked_and_never_given_up(web: Web, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with serving(web.folder, certificate=certificate, key=key) as safe:
        safe.redirects["/down"] = f"{web.url}/big.rpm"
        with pytest.raises(FetchFailed) as caught:
            fetch([wanted(f"{safe.url}/big.rpm")], cache=str(tmp_path / "c"))
        assert "the server's certificate is not valid" in reasons(caught)
        trusting = PATIENT.but(sslcacert=certificate)
        with pytest.raises(FetchFailed) as caught:
            fetch([wanted(f"{safe.url}/down", access=trusting)], cache=str(tmp_path / "c"))
        assert "redirected from https to plain http" in reasons(caught)
        assert fetch([wanted(f"{safe.url}/big.rpm", access=trusting)], cache=str(tmp_path / "c"))
        careless = PATIENT.but(sslverify=False)
        assert fetch([wanted(f"{safe.url}/big.rpm", access=careless)], cache=str(tmp_path / "d"))


def test_a_password_goes_to_its_own_host_only(web: Web, tmp_path: Path) -> None:
    with serving(web.folder) as other:
        config = RepoConfig(id="x", baseurl=(web.url,), username="me", password="word")
        web.password = "me:word"
        web.redirects["/away"] = f"{other.url}/big.rpm"
        access = access_of(config).but(timeout=PATIENCE_S)
        assert fetch([wanted(f"{web.url}/big.rpm", access=access)], cache=str(tmp_path / "c"))
        assert fetch([wanted(f"{web.url}/away", access=access)], cache=str(tmp_path / "d"))
        assert fetch([wanted(f"{other.url}/big.rpm", access=access)], cache=str(tmp_path / "e"))
        assert "Authorization" in web.asked[0][1]
        assert not any("Authorization" in headers for _, headers in other.asked)


def test_passwords_stay_out_of_messages(web: Web, tmp_path: Path) -> None:
    web.password = "me:word"
    secret = web.url.replace("//", "//me:wrong@") + "/big.rpm"
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(secret)], cache=str(tmp_path / "c"))
    assert f"Status code: 401 for {web.url}/big.rpm" in reasons(caught)
    assert "wrong" not in f"{caught.value}{caught.value.failed}{Access(password='wrong')!r}"
    assert shown("http://a:b@h/x") == "http://h/x"


def test_a_proxy_is_used_and_gets_its_own_password(web: Web, tmp_path: Path) -> None:
    (web.folder / "http:").mkdir()  # what a plain file server makes of a proxy's request
    web.replaced["http://far.invalid:80/big.rpm"] = BIG
    proxied = PATIENT.but(proxy=web.url, proxy_username="p", proxy_password="q")
    assert fetch([wanted("http://far.invalid/big.rpm", access=proxied)], cache=str(tmp_path / "c"))
    path, headers = web.asked[0]
    assert path == "http://far.invalid:80/big.rpm"
    assert headers["Proxy-Authorization"] == "Basic cDpx"


def test_a_proxy_passes_tls_on_without_seeing_the_password(web: Web, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with serving(web.folder, certificate=certificate, key=key) as safe:
        safe.password = "me:word"
        access = PATIENT.but(
            username="me", password="word", hosts=(origin(safe.url),), proxy=web.url, sslcacert=certificate
        )
        assert fetch([wanted(f"{safe.url}/big.rpm", access=access)], cache=str(tmp_path / "c"))
    path, headers = web.asked[0]
    assert path == f"CONNECT {safe.url.removeprefix('https://')}"
    assert "Authorization" not in headers
    with pytest.raises(FetchFailed) as caught:
        socks = PATIENT.but(proxy="socks5://me:word@127.0.0.1:1")
        fetch([wanted(f"{web.url}/big.rpm", access=socks)], cache=str(tmp_path / "d"))
    assert reasons(caught) == "proxy 'socks5://127.0.0.1:1' is no http proxy"


def test_files_of_this_host_are_checked_and_not_copied(tmp_path: Path) -> None:
    (tmp_path / "a b%.rpm").write_bytes(BIG)
    url = f"file://{tmp_path}/a b%25.rpm"
    path = fetch([wanted(url)], cache=str(tmp_path / "c"))["big.rpm"]
    assert path == str(tmp_path / "a b%.rpm")
    assert not (tmp_path / "c").exists()
    (tmp_path / "a b%.rpm").write_bytes(BIG[::-1])
    with pytest.raises(FetchFailed) as caught:
        fetch([wanted(url)], cache=str(tmp_path / "c"))
    assert "has digest sha256:" in reasons(caught)
    with pytest.raises(Refused):
        local_path("file://elsewhere/x")


def test_a_file_without_a_digest_is_kept_by_its_content(web: Web, tmp_path: Path) -> None:
    job = Wanted(name="x", urls=(f"{web.url}/big.rpm",), access=PATIENT)
    path = fetch([job], cache=str(tmp_path / "c"))["x"]
    assert path.endswith(digest(BIG).partition(":")[2])
    assert Path(path).read_bytes() == BIG


def test_digests_that_prove_nothing_are_refused() -> None:
    assert checksum("SHA:" + "a" * 40) == ("sha1", "a" * 40)
    for text in ("md5:" + "a" * 32, "sha256:abc", "sha256:../../etc", "", "sha256:" + "g" * 64):
        with pytest.raises(Refused):
            checksum(text)


def test_origins_are_compared_by_scheme_host_and_port() -> None:
    assert origin("HTTP://Host/x") == origin("http://host:80/") == "http://host:80"
    assert origin("https://host") != origin("http://host:443/")
    assert origin("http://host:port/") == origin("ftp://x/") == ""
