//! Names that lead elsewhere, and files of other users.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use tnet_proto::{FileHandle, Holdings, Open, PeerMessage};
use tnet_testkit::{Content, Network, RawClient, SOON, files_below, payload};

use crate::support::case::cases;
use crate::support::needs::Need;

cases![
    11 "names that are paths, devices, too long, no text, or equal but for case and form" names_that_lead_elsewhere_are_refused;
    13 "state directory of another user, writable for a group or all, or replaceable" a_state_directory_of_another_user_is_refused .needing(&[Need::Root]);
    14 "the destination exists" an_existing_file_is_never_lost;
    15 "a peer asks for a file that is here and not shared" an_unshared_file_looks_like_a_missing_one .alone();
];

/// Names that must not pass; with each a reason that a file system, a shell or a terminal would be
/// led astray.
fn bad_names() -> Vec<String> {
    let plain = [
        "",
        ".",
        "..",
        "/",
        "//",
        "/etc/passwd",
        "../escape",
        "../../escape",
        "..\\escape",
        "a/b",
        "a/",
        "./a",
        "a/../b",
        "/..",
        "\\",
        "\\\\server\\share",
        "\\\\?\\C:\\a",
        "C:",
        "C:a",
        "c:\\a",
        "a:stream",
        "a::$DATA",
        ":",
        "\0",
        "a\0",
        "a\0.txt",
        "a\nb",
        "a\rb",
        "a\tb",
        "\u{1b}[2J",
        "\u{1b}]0;x\u{7}",
        "a\u{7f}",
        "a\u{85}b",
        "a\u{9b}b",
        "a\u{2028}b",
        "a\u{2029}b",
        "gpj.\u{202e}exe",
        "a\u{202a}",
        "a\u{202b}",
        "a\u{202d}",
        "a\u{2066}",
        "a\u{2069}",
        "a.",
        "a...",
        "a ",
        "a. ",
        "...",
        ". ",
        " ",
        "CON",
        "con",
        "Prn",
        "AUX",
        "NUL",
        "nul.txt",
        "nul.tar.gz",
        "COM1",
        "com9.log",
        "COM\u{b9}",
        "lpt\u{b3}.txt",
        "LPT1",
        "CONIN$",
        "conout$",
    ];
    let long = ["a".repeat(256), "a".repeat(300), "é".repeat(128), "a".repeat(100_000)];
    plain.into_iter().map(str::to_owned).chain(long).collect()
}

async fn names_that_lead_elsewhere_are_refused() -> String {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(100_000, 11));
    network.peer("seed").shares(&content).await;
    let user = network.user("ann");
    let mut description: serde_json::Value =
        serde_json::from_str(&content.info().to_json()).expect("our own JSON");
    let names = bad_names();
    assert!(names.len() >= 60);
    let mut files: Vec<Vec<u8>> = Vec::new();
    for name in &names {
        description["name"] = name.as_str().into();
        files.push(description.to_string().into_bytes());
    }
    // Bytes that are no text.
    description["name"] = "NAME".into();
    let text = description.to_string();
    for bytes in [&b"\xff"[..], b"a\xc3", b"\xc0\xaf\xc0\xae"] {
        let (before, after) = text.split_once("NAME").expect("the name is in it");
        files.push([before.as_bytes(), bytes, after.as_bytes()].concat());
    }
    for (number, bytes) in files.iter().enumerate() {
        fs::write(user.path(&format!("{number}.fileinfo")), bytes).expect("writable");
    }
    let before = seen(&user);
    let gets = (0..files.len()).map(async |number| {
        let name = format!("{number}.fileinfo");
        let get = [
            "get",
            &name,
            "--foreground",
            "--linger",
            "0s",
            "--listen",
            "127.0.0.1:0",
            "--timeout",
            "5s",
        ];
        let finished = user.run_within(SOON, get).await;
        let shown = names.get(number);
        assert_eq!(finished.code, Some(6), "{shown:?}: {}", finished.stderr);
        let cause =
            finished.stderr.lines().filter(|line| line.starts_with("tnet: ")).collect::<Vec<_>>();
        assert!(cause.len() == 1 && cause[0].len() < 400, "{shown:?}: {}", finished.stderr);
        assert!(
            !finished.stderr.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}', '\0']),
            "{shown:?} is shown escaped"
        );
    });
    stream::iter(gets).buffer_unordered(8).collect::<Vec<()>>().await;
    assert_eq!(seen(&user), before, "nothing was written anywhere");
    let special = names_for_users_only(&network, &user, &content).await;
    // Names that some file systems take for one: here they are two, or the second is refused, and
    // none is lost.
    let mut kept = 0;
    for pair in [["é", "e\u{301}"], ["README", "readme"]] {
        for (name, seed) in pair.into_iter().zip([1, 2]) {
            let other = Content::of(payload(10_000, seed));
            other.write(&network.peer("seed").path(&format!("{name} {seed}"))).await;
            network
                .peer("seed")
                .share(network.peer("seed").path(&format!("{name} {seed}")))
                .await
                .expect("readable");
            let named = other
                .info()
                .clone()
                .with_name(Some(tnet_fileinfo::FileName::new(name).expect("a good name")));
            fs::write(user.path("pair.fileinfo"), named.to_json()).expect("writable");
            let get = [
                "get",
                "pair.fileinfo",
                "--foreground",
                "--linger",
                "0s",
                "--listen",
                "127.0.0.1:0",
            ];
            let finished = user.run_within(SOON, get).await;
            match finished.code {
                Some(0) => other.is_at(&user.path(name)).await,
                code => assert_eq!(code, Some(9), "{}", finished.stderr),
            }
            kept += 1;
        }
    }
    format!(
        "{} refused, escaped in one line; 0 escapes; {special} taken only with -o; {kept} of 4 twins kept apart",
        files.len()
    )
}

/// Names that are good ones, but do something by being what they are: taken only from the user.
/// Answers how many.
async fn names_for_users_only(
    network: &Network,
    user: &tnet_testkit::Cli,
    content: &Content,
) -> usize {
    let names = [
        ".bashrc",
        ".profile",
        ".ssh",
        "..a",
        "\u{200d}.bashrc",
        "-rf",
        "--help",
        "-",
        "\u{feff}-rf",
        "special.fileinfo",
        "a.FileInfo",
        "a.partial",
        "a.PARTIAL",
        "a.partial.journal",
        "a.Partial.Journal",
        "a.\u{fb01}leinfo",
        "a.parti\u{200c}al",
    ];
    fs::create_dir(user.path("into")).expect("writable");
    for name in names {
        content.write_info_named(&user.path("special.fileinfo"), name);
        let before = seen(user);
        let common = ["--overwrite", "--foreground", "--linger", "0s", "--listen", "127.0.0.1:0"];
        for out in [None, Some("into"), Some("into/")] {
            let named = out.map(|out| ["-o", out]).into_iter().flatten();
            let get = ["get", "special.fileinfo"].into_iter().chain(named).chain(common);
            let finished = user.run_within(SOON, get).await.with_code(2);
            let cause: Vec<&str> =
                finished.stderr.lines().filter(|line| line.starts_with("tnet: ")).collect();
            assert!(cause.len() == 1 && cause[0].contains("-o"), "{name:?}: {}", finished.stderr);
        }
        assert_eq!(seen(user), before, "{name:?}: nothing was written");
    }
    // Named by the user with `-o`, it is taken.
    for name in [".profile", "./-rf", "mine.partial"] {
        let out = ["-o", name, "--foreground", "--linger", "0s", "--listen", "127.0.0.1:0"];
        user.run_within(SOON, ["get", "special.fileinfo"].into_iter().chain(out))
            .await
            .with_code(0);
        content.is_at(&user.path(name)).await;
    }
    assert_eq!(network.swarm(content.hash()).await.0, 1);
    names.len()
}

/// All files of the test, but for what its commands print and for descriptions.
fn seen(user: &tnet_testkit::Cli) -> Vec<std::path::PathBuf> {
    let above = user
        .home()
        .parent()
        .and_then(std::path::Path::parent)
        .expect("homes are below the network's");
    let mut files = files_below(above).expect("readable");
    files.retain(|path| {
        !path.components().any(|part| part.as_os_str() == "streams" || part.as_os_str() == "state")
    });
    files
}

async fn a_state_directory_of_another_user_is_refused() -> String {
    let network = Network::builder().start().await;
    let user = network.user("ann");
    let state = user.path("state");
    fs::create_dir(&state).expect("writable");
    let ours = rustix::process::geteuid().as_raw();
    let refusals: [(&str, u32, u32); 9] = [
        ("0777", ours, 0o777),
        ("of another user", 65534, 0o700),
        ("both", 65534, 0o777),
        ("a group writes", ours, 0o770),
        ("only a group writes", ours, 0o720),
        ("a group writes, and hands it on", ours, 0o2775),
        ("others write", ours, 0o702),
        ("sticky", ours, 0o1777),
        ("sticky, of another user", 65534, 0o1755),
    ];
    for (what, owner, mode) in refusals {
        std::os::unix::fs::chown(&state, Some(owner), Some(owner)).expect("root may");
        fs::set_permissions(&state, fs::Permissions::from_mode(mode)).expect("root may");
        is_refused(&user, what, &[]).await;
        assert_eq!(
            fs::read_dir(&state).expect("readable").count(),
            0,
            "{what}: nothing was put there"
        );
    }
    // An access list shows in the bits of the group, if the machine has lists.
    let listed = user.path("listed");
    fs::create_dir(&listed).expect("writable");
    fs::set_permissions(&listed, fs::Permissions::from_mode(0o700)).expect("ours");
    let granted =
        std::process::Command::new("setfacl").args(["-m", "u:65534:rwx"]).arg(&listed).status();
    let has_lists = granted.is_ok_and(|status| status.success());
    if has_lists {
        is_refused(&user, "an access list", &["--state-dir", "listed"]).await;
    }
    // A user who may write above it puts another one in its place.
    let above = user.path("above");
    fs::create_dir_all(above.join("state")).expect("writable");
    fs::set_permissions(above.join("state"), fs::Permissions::from_mode(0o700)).expect("ours");
    std::os::unix::fs::symlink(user.home(), above.join("link")).expect("a link");
    std::os::unix::fs::lchown(above.join("link"), Some(65534), Some(65534)).expect("root may");
    fs::set_permissions(&above, fs::Permissions::from_mode(0o777)).expect("ours");
    is_refused(&user, "replaceable", &["--state-dir", "above/state"]).await;
    is_refused(&user, "not there yet", &["--state-dir", "above/new"]).await;
    fs::set_permissions(&above, fs::Permissions::from_mode(0o1777)).expect("ours");
    is_refused(&user, "a link of another user", &["--state-dir", "above/link/state"]).await;
    assert!(
        !above.join("new").exists()
            && fs::read_dir(above.join("state")).expect("readable").count() == 0
    );
    // As below `/tmp`: no other user can replace it.
    let server = user.server(["--state-dir", "above/state"]).await;
    user.run(["kill-server", "--state-dir", "above/state"]).await.with_code(0);
    assert!(!server.is_running());
    format!(
        "code 10, with what to do about it, in {} cases; nothing written there",
        refusals.len() + usize::from(has_lists) + 3
    )
}

/// Neither kind of server starts, and why is said with what to do about it.
async fn is_refused(user: &tnet_testkit::Cli, what: &str, with: &[&str]) {
    for args in [vec!["start-server"], vec!["start-server", "--foreground"]] {
        let args = args.into_iter().chain(["--listen", "127.0.0.1:0"]).chain(with.iter().copied());
        let finished = user.run(args).await;
        assert_eq!(finished.code, Some(10), "{what}: {}", finished.stderr);
        let line =
            finished.stderr.lines().find(|line| line.starts_with("tnet: ")).unwrap_or_default();
        assert!(
            line.contains("state") && line.contains("; "),
            "{what}: cause and hint in {:?}",
            finished.stderr
        );
    }
}

async fn an_existing_file_is_never_lost() -> String {
    let network = Network::builder().start().await;
    let (old, new) = (Content::of(payload(500_000, 14)), Content::of(payload(3_000_000, 15)));
    let seed = network.raw(new.raw_peer().allowing(5)).await;
    let user = network.user("ann");
    new.write_info(&user.path("new.fileinfo"));
    old.write(&user.path("out")).await;
    let get = [
        "get",
        "new.fileinfo",
        "-o",
        "out",
        "--foreground",
        "--linger",
        "0s",
        "--listen",
        "127.0.0.1:0",
    ];
    let finished = user.run(get).await.with_code(9);
    assert!(finished.stderr.contains("--overwrite"), "{}", finished.stderr);
    old.is_at(&user.path("out")).await;
    // With leave to replace it, it is the old one until it is the new one.
    let mut running = user.start(get.iter().chain(&["--overwrite"]));
    seed.counters_are("five chunks are there", SOON, |counters| counters.served_in_all() == 5)
        .await;
    old.is_at(&user.path("out")).await;
    let (first, last) = (old.payload().bytes(), new.payload().bytes());
    seed.allow_all().await;
    let mut looks = 0;
    while running.is_running() {
        let bytes = fs::read(user.path("out")).expect("there at any moment");
        assert!(bytes == first || bytes == last, "{} bytes that are neither file", bytes.len());
        looks += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.ends(SOON).await.with_code(0);
    new.is_at(&user.path("out")).await;
    format!("code 9 and the file as it was; replaced in one step ({looks} looks, never a mixture)")
}

async fn an_unshared_file_looks_like_a_missing_one() -> String {
    const ASKED: u32 = 300;
    let network = Network::builder().peer("ann").start().await;
    let ann = network.peer("ann");
    let (here, absent, shared) = (
        Content::of(payload(200_000, 1)),
        Content::of(payload(200_000, 2)),
        Content::of(payload(200_000, 3)),
    );
    // It was shared once, is known, and lies beside what is shared.
    here.write(&ann.path("secret")).await;
    ann.share(ann.path("secret")).await.expect("readable");
    network.coordinator_counts(here.hash(), 1, 0).await;
    fs::rename(ann.path("secret"), network.dir().join("secret")).expect("one file system");
    network.coordinator_counts(here.hash(), 0, 0).await;
    ann.shares(&shared).await;
    let mut caller =
        RawClient::call(ann.local_addr()).await.expect("ann listens").handshake(SOON).await;
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..ASKED {
        for (content, times) in [&here, &absent].into_iter().zip(&mut times) {
            let (file, hash) = (FileHandle(number), *content.hash().as_bytes());
            let holdings = Holdings::Bitmap(vec![0]);
            let began = Instant::now();
            caller
                .say(PeerMessage::Open(Open {
                    file,
                    hash,
                    size: 200_000,
                    chunk_size: 65_536,
                    holdings,
                }))
                .await;
            assert_eq!(caller.hear(SOON).await, Some(PeerMessage::NotFound { file }));
            times.push(began.elapsed());
            caller.say(PeerMessage::InfoRequest { hash, first: 0 }).await;
            assert_eq!(caller.hear(SOON).await, Some(PeerMessage::InfoNotFound { hash }));
        }
    }
    let [here, absent] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_micros()
    });
    // Equal but for noise: a look at a disk, or a hash, would take many times as long.
    assert!(here <= 3 * absent + 200 && absent <= 3 * here + 200, "{here} us and {absent} us");
    format!(
        "same answers; median {here} us for a file that is here, {absent} us for one that is not; 0 leaks"
    )
}
