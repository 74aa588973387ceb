//! A directory as one tree, on the command line: described, and held against what it should be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tnet_fileinfo::Described;
use tnet_fileinfo::tree::Manifest;
use tnet_testkit::{Cli, Network, Tree};

/// A directory with an entry of each kind.
fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("docs/empty")).expect("writable");
    fs::write(root.join("docs/read me"), "read").expect("writable");
    fs::write(root.join(".hidden"), "").expect("writable");
    fs::write(root.join("run"), "#!/bin/sh").expect("writable");
    fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o755)).expect("ours");
    symlink("docs/read me", root.join("latest")).expect("a link");
}

async fn user_with_a_tree() -> (Network, Cli) {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    make_tree(&cli.path("dir"));
    (network, cli)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_describes_a_directory_by_its_manifest() {
    let (_network, cli) = user_with_a_tree().await;
    let created = cli.run(["create", "dir/", "--manifest", "dir.manifest"]).await.with_code(0);
    let read = Described::parse(&fs::read(cli.path("dir.fileinfo")).expect("written"));
    let described = read.expect("what was written proves itself");
    let tree = described.tree().expect("of a tree");
    assert_eq!(described.name().map(|name| name.as_str()), Some("dir"));
    let bytes = fs::read(cli.path("dir.manifest")).expect("written");
    let manifest = Manifest::parse(bytes).expect("canonical");
    assert_eq!((manifest.hash(), manifest.len()), (tree, 6));
    for line in [
        format!("hash    {tree}"),
        "size    13 B (13 bytes)".to_owned(),
        "holds   3 files, 2 directories, 1 link".to_owned(),
        "chunks  1 of 16 KiB".to_owned(),
        "wrote   dir.fileinfo".to_owned(),
        "wrote   dir.manifest".to_owned(),
    ] {
        assert!(created.stdout.lines().any(|found| found == line), "{line} in {created:?}");
    }

    assert!(cli.run(["create", "dir"]).await.with_code(9).stderr.contains("--overwrite"));
    let report = cli.run(["create", "dir", "--overwrite", "--json"]).await.with_code(0).result();
    assert_eq!((&report["kind"], &report["hash"]), (&"tree".into(), &tree.to_string().into()));
    assert_eq!((&report["files"], &report["links"]), (&3.into(), &1.into()));

    // The same content is the same tree, whatever it is called and wherever it is.
    make_tree(&cli.path("deep/copy"));
    let report = cli.run(["create", "deep/copy", "--json"]).await.with_code(0).result();
    assert_eq!(report["hash"], tree.to_string());
    assert!(cli.path("deep/copy.fileinfo").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_refuses_what_cannot_be_in_a_tree_and_says_what_to_do() {
    let (_network, cli) = user_with_a_tree().await;
    let inside = cli.run(["create", "dir", "-o", "dir/x.fileinfo"]).await.with_code(2);
    assert!(inside.stderr.contains("would be in the directory"), "{inside:?}");
    let manifest = cli.run(["create", "dir/run", "--manifest", "m"]).await.with_code(2);
    assert!(manifest.stderr.contains("no directory"), "{manifest:?}");

    symlink("../../secret", cli.path("dir/docs/o\nut")).expect("a link");
    let outside = cli.run(["create", "dir"]).await.with_code(2);
    assert!(outside.stderr.contains(r#""docs/o\nut""#), "{outside:?}");
    assert!(outside.stderr.contains("--allow-outside-links"), "{outside:?}");
    let _ = cli.run(["create", "dir", "--allow-outside-links"]).await.with_code(0);
    fs::remove_file(cli.path("dir/docs/o\nut")).expect("ours");

    let _socket = std::os::unix::net::UnixListener::bind(cli.path("dir/s")).expect("short");
    let socket = cli.run(["create", "dir", "--overwrite"]).await.with_code(2);
    assert!(socket.stderr.contains("is a socket"), "{socket:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_says_whether_a_directory_is_exactly_the_tree() {
    let (_network, cli) = user_with_a_tree().await;
    let create = ["create", "dir", "--manifest", "dir.manifest", "--chunk-size", "1M", "--json"];
    let tree = cli.run(create).await.with_code(0).result()["hash"].clone();
    let tree = tree.as_str().expect("a string");
    for expected in ["dir.fileinfo", "dir.manifest", tree] {
        let right = cli.run(["verify", "dir", expected]).await.with_code(0);
        assert!(right.stdout.contains(tree), "{expected}: {right:?}");
    }

    fs::write(cli.path("dir/docs/read me"), "Read").expect("ours");
    fs::remove_dir(cli.path("dir/docs/empty")).expect("ours");
    fs::write(cli.path("dir/new\nline"), "").expect("ours");
    fs::set_permissions(cli.path("dir/run"), fs::Permissions::from_mode(0o644)).expect("ours");
    fs::remove_file(cli.path("dir/latest")).expect("ours");
    symlink("run", cli.path("dir/latest")).expect("a link");
    fs::remove_file(cli.path("dir/.hidden")).expect("ours");
    fs::create_dir(cli.path("dir/.hidden")).expect("ours");

    for expected in ["dir.fileinfo", tree] {
        let wrong = cli.run(["verify", "dir", expected]).await.with_code(6);
        assert!(wrong.stderr.contains("is not the tree"), "{wrong:?}");
        assert!(wrong.stderr.contains("--manifest"), "{wrong:?}");
    }
    let wrong = cli.run(["verify", "dir", "dir.manifest"]).await.with_code(6);
    let listed: Vec<&str> = wrong.stdout.lines().collect();
    let expected = [
        "kind     .hidden",
        "missing  docs/empty",
        "content  docs/read me",
        "target   latest",
        r"extra    new\nline",
        "mode     run",
    ];
    assert_eq!(listed, expected);
    let summary = "1 missing, 1 too many, 1 of another kind, 1 file changed, 1 file with another \
                   mode, 1 link changed";
    assert!(wrong.stderr.contains(summary), "{wrong:?}");
    let json = cli.run(["verify", "dir", "dir.manifest", "--json"]).await.with_code(6);
    let event = json.json_lines().into_iter().find(|event| event["event"] == "wrong_entries");
    let event = event.expect("what differs is an event");
    assert_eq!((&event["wrong"], &event["entries"][1]["path"]), (&6.into(), &"docs/empty".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn show_says_what_is_described() {
    let (_network, cli) = user_with_a_tree().await;
    let create = ["create", "dir", "--manifest", "dir.manifest", "--json"];
    let tree = cli.run(create).await.with_code(0).result()["hash"].clone();
    let tree = tree.as_str().expect("a string");
    let _ = cli.run(["create", "dir/run", "-o", "run.fileinfo"]).await.with_code(0);

    let file = cli.run(["show", "run.fileinfo"]).await.with_code(0).stdout;
    assert!(file.starts_with("name    run\nkind    file\nhash    "), "{file}");
    assert!(file.ends_with("\nsize    9 B (9 bytes)\nchunks  1 of 16 KiB\n"), "{file}");
    let described = cli.run(["show", "dir.fileinfo"]).await.with_code(0).stdout;
    let head = format!("name    dir\nkind    tree\nhash    {tree}\n");
    assert!(described.starts_with(&head), "{described}");
    let listed = cli.run(["show", "dir.manifest"]).await.with_code(0).stdout;
    assert!(listed.ends_with("\nholds   3 files, 2 directories, 1 link\n"), "{listed}");
    let report = cli.run(["show", "dir.manifest", "--json"]).await.with_code(0).result();
    assert_eq!((&report["kind"], &report["size"]), (&"tree".into(), &13.into()));
    let cut = fs::read(cli.path("dir.manifest")).expect("written");
    fs::write(cli.path("cut"), &cut[..cut.len() - 1]).expect("writable");
    let wrong = cli.run(["show", "cut"]).await.with_code(6);
    assert!(wrong.stderr.contains("cut off"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_trees_are_not_taken_for_each_other() {
    let (_network, cli) = user_with_a_tree().await;
    let _ = cli.run(["create", "dir"]).await.with_code(0);
    let _ = cli.run(["create", "dir/run", "-o", "run.fileinfo"]).await.with_code(0);
    let wrong = cli.run(["verify", "dir", "run.fileinfo"]).await.with_code(2);
    assert!(wrong.stderr.contains("is a directory"), "{wrong:?}");
    let wrong = cli.run(["verify", "dir/run", "dir.fileinfo"]).await.with_code(2);
    assert!(wrong.stderr.contains("is no directory"), "{wrong:?}");
    for wanted in ["tree:", "tree:12", "tree:zz"] {
        for command in [["who", wanted], ["get", wanted]] {
            let wrong = cli.run(command).await.with_code(2);
            assert!(wrong.stderr.contains("64 hexadecimal digits"), "{wrong:?}");
        }
    }
    let json = fs::read_to_string(cli.path("dir.fileinfo")).expect("written");
    fs::write(cli.path("later.fileinfo"), json.replace("\"tree\"", "\"image\"")).expect("ours");
    let later = cli.run(["verify", "dir", "later.fileinfo"]).await.with_code(11);
    assert!(later.stderr.contains("describes a \"image\""), "{later:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_shared_by_name_arrives_as_it_is_and_is_taken_off_by_its_name() {
    let network = Network::builder().start().await;
    let (ann, bob) = (network.user("ann"), network.user("bob"));
    make_tree(&ann.path("dir"));
    let tree = Tree::read(&ann.path("dir"));
    let _server = ann.server([""; 0]).await;
    let shared = ann.run(["share", "dir"]).await.with_code(0);
    let command = shared.stdout.lines().find_map(|line| line.strip_prefix("tnet get "));
    let name = command.unwrap_or_else(|| panic!("{shared:?}")).to_owned();
    assert!(name.starts_with("tree:"), "{shared:?}");

    bob.run(["get", &name, "-o", "out", "--foreground", "--linger", "0s"]).await.with_code(0);
    tree.is_at(&bob.path("out"));
    // It is there already.
    bob.run(["get", &name, "-o", "out", "--foreground", "--linger", "0s"]).await.with_code(0);
    ann.run(["create", "dir"]).await.with_code(0);
    fs::rename(ann.path("dir.fileinfo"), bob.path("x.fileinfo")).expect("ours");
    bob.run(["get", "x.fileinfo", "--foreground", "--linger", "0s"]).await.with_code(0);
    tree.is_at(&bob.path("dir"));

    // A link that leads out of it is made only where that is allowed.
    symlink("../other", ann.path("dir/out")).expect("a link");
    let refused = ann.run(["share", "dir"]).await.with_code(2);
    assert!(refused.stderr.contains("--allow-outside-links"), "{refused:?}");
    let shared = ann.run(["share", "dir", "--allow-outside-links"]).await.with_code(0);
    let command = shared.stdout.lines().find_map(|line| line.strip_prefix("tnet get "));
    let open = command.unwrap_or_else(|| panic!("{shared:?}")).to_owned();
    let refused = bob.run(["get", &open, "-o", "open", "--foreground"]).await.with_code(6);
    assert!(refused.stderr.contains("--allow-outside-links"), "{refused:?}");
    for left in ["open", "open.partial", "open.partial.manifest"] {
        assert!(!bob.path(left).exists(), "{left}");
    }
    let allowed = ["get", &open, "-o", "open", "--allow-outside-links", "--foreground"];
    bob.run(allowed.into_iter().chain(["--linger", "0s"])).await.with_code(0);
    Tree::read(&ann.path("dir")).is_at(&bob.path("open"));
    fs::remove_file(ann.path("dir/out")).expect("ours");
    ann.run(["share", "dir"]).await.with_code(0);

    // Something else is in the way.
    fs::write(bob.path("dir/more"), "more").expect("writable");
    let refused = bob.run(["get", "x.fileinfo", "--foreground"]).await.with_code(9);
    assert!(refused.stderr.contains("dir"), "{refused:?}");
    fs::write(bob.path("file"), "more").expect("writable");
    bob.run(["get", &name, "-o", "file", "--foreground"]).await.with_code(9);

    let listed = ann.run(["ls"]).await.with_code(0);
    assert!(listed.stdout.starts_with(&name) && listed.stdout.lines().count() == 1, "{listed:?}");
    ann.run(["rm", &name]).await.with_code(0);
    let listed = ann.run(["ls"]).await.with_code(0);
    assert_eq!(listed.stdout, "", "{listed:?}");
    let missing = ann.run(["share", "nothing"]).await.with_code(3);
    assert!(missing.stderr.contains("nothing"), "{missing:?}");
}
