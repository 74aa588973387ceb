//! Descriptions of files that lie, that are too long, or of files of awkward lengths.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tnet_fileinfo::{FileInfo, FileInfoError};
use tnet_testkit::{
    Cli, Content, Description, Finished, Network, SOON, eventually, get_args, payload,
};

use crate::support::case::cases;
use crate::support::process::{forget_peak, memory};
use crate::support::soak::at_length;

cases![
    3 "sizes and chunk sizes that are absurd or overflow" absurd_geometries_are_refused_without_an_allocation .alone();
    4 "a description with millions of entries, or nested deeply" endless_descriptions_are_refused_at_their_limit .measures();
    10 "files of 0 and 1 bytes, of whole chunks and one more or less, very many small ones" every_length_arrives;
    19 "a forged description under a true hash" a_forged_description_is_refused_before_the_first_request;
];

/// A download in its own process that gives up soon and has no peer to ask.
fn get(description: &str) -> Vec<&str> {
    get_args(description, &["--timeout", "2s"])
}

/// One line with the cause, and none of the file.
fn is_refused(finished: Finished, home: &Path) {
    let finished = finished.with_code(6);
    let causes = finished.stderr.lines().filter(|line| line.starts_with("tnet: ")).count();
    assert_eq!(causes, 1, "{}", finished.stderr);
    assert!(!home.join("a").exists() && !home.join("a.partial").exists());
}

async fn absurd_geometries_are_refused_without_an_allocation() -> String {
    let network = Network::builder().start().await;
    let user = network.user("ann");
    let content = Content::of(payload(300_000, 3));
    let honest: Value = serde_json::from_str(&content.info().to_json()).expect("our own JSON");
    let with = |changes: &[(&str, Value)]| {
        let mut lie = honest.clone();
        for (field, value) in changes {
            assert!(lie.get(*field).is_some(), "no field {field}");
            lie[*field] = value.clone();
        }
        lie.to_string()
    };
    let huge: Value = serde_json::from_str("18446744073709551615").expect("a number");
    let beyond: Value = serde_json::from_str("1e30").expect("a number");
    let mut lies: Vec<String> = Vec::new();
    for size in [
        json!(1_u64 << 63),
        huge.clone(),
        beyond,
        json!(-1),
        json!(0),
        json!(299_999),
        json!("300000"),
    ] {
        lies.push(with(&[("size", size)]));
    }
    for chunk_size in [
        json!(0),
        json!(1),
        json!(3),
        json!(1_u64 << 31),
        json!(1_u64 << 32),
        json!(8192),
        json!(-65536),
    ] {
        lies.push(with(&[("chunk_size", chunk_size)]));
    }
    for chunks in [json!(0), json!(4), json!(6), json!(u32::MAX), huge.clone()] {
        lies.push(with(&[("chunks", chunks)]));
    }
    // Products that come out small again, or large.
    lies.push(with(&[("size", json!(1_u64 << 62)), ("chunk_size", json!(16 << 20))]));
    lies.push(with(&[("size", huge), ("chunks", json!(5))]));
    forget_peak();
    let before = memory(std::process::id()).peak_kib;
    for lie in &lies {
        FileInfo::parse(lie.as_bytes()).expect_err(lie);
    }
    let grown = memory(std::process::id()).peak_kib - before;
    assert!(grown < 1024, "{grown} KiB for descriptions of {} bytes", lies[0].len());
    for (number, lie) in lies.iter().enumerate() {
        let name = format!("{number}.fileinfo");
        fs::write(user.path(&name), lie).expect("writable");
        is_refused(user.run(get(&name)).await, user.home());
    }
    format!("{} refused; at most {grown} KiB of memory while parsing", lies.len())
}

async fn endless_descriptions_are_refused_at_their_limit() -> String {
    let network = Network::builder().start().await;
    let user = network.user("ann");
    let content = Content::of(payload(300_000, 4));
    let honest = content.info().to_json();
    let (head, tail) = honest.split_once("\"sums\": [").expect("a description has sums");
    let sum = format!("\"{}\",", "0".repeat(64));
    let mut millions = fs::File::create(user.path("millions.fileinfo")).expect("writable");
    let block = sum.repeat(10_000);
    write!(millions, "{head}\"sums\": [").expect("writable");
    for _ in 0..at_length(200, 1000) {
        millions.write_all(block.as_bytes()).expect("writable");
    }
    write!(millions, "{tail}").expect("writable");
    let len = millions.metadata().expect("open").len();
    let mut one_more = format!("{head}\"sums\": [");
    // One above the largest number of chunks, within the largest length.
    one_more.push_str(&sum.repeat((1 << 20) + 1));
    one_more.push_str(tail);
    let nested = format!("{{\"name\": {}", "[".repeat(1_000_000));
    let began = Instant::now();
    FileInfo::parse(one_more.as_bytes()).expect_err("too many sums");
    let too_many = began.elapsed();
    let error = FileInfo::parse(nested.as_bytes()).expect_err("nested too deeply");
    assert!(!matches!(error, FileInfoError::TooLong { .. }), "it is the depth: {error}");
    for (name, text) in [("more", &one_more), ("nested", &nested)] {
        fs::write(user.path(&format!("{name}.fileinfo")), text).expect("writable");
    }
    let mut slowest = Duration::ZERO;
    for name in ["millions.fileinfo", "more.fileinfo", "nested.fileinfo"] {
        let began = Instant::now();
        is_refused(user.run(get(name)).await, user.home());
        slowest = slowest.max(began.elapsed());
    }
    let (megabytes, refused) = (len / 1_000_000, slowest.as_millis());
    format!(
        "{megabytes} MB refused; {} ms to parse 2^20 + 1 sums; command at most {refused} ms",
        too_many.as_millis()
    )
}

async fn every_length_arrives() -> String {
    const CHUNK: u64 = 16 * 1024;
    let network = Network::builder().start().await;
    let (seed, ann) = (network.user("seed"), network.user("ann"));
    let dir = seed.path("shared");
    fs::create_dir(&dir).expect("writable");
    let lengths =
        [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 7 * CHUNK - 1, 7 * CHUNK, 8 * CHUNK, 8 * CHUNK + 1];
    for len in lengths {
        let content = Content::of(payload(len, 10));
        content.write(&dir.join(len.to_string())).await;
        content.write_info(&ann.path(&format!("{len}.fileinfo")));
    }
    let small = at_length(2_000_u64, 999_990);
    for number in 0..small {
        let below = dir.join((number / 1000).to_string() + "k");
        fs::create_dir_all(&below).expect("writable");
        fs::write(below.join(number.to_string()), number.to_le_bytes()).expect("writable");
    }
    let last = Content::of(payload(5000, 11));
    last.write(&dir.join("last")).await;
    let _server = seed.server(["--dir", "shared"]).await;
    let is_shared = async || match network.swarm(last.hash()).await.0 {
        1 => Ok(()),
        holders => Err(holders),
    };
    eventually("all are shared and reported", at_length(SOON * 3, SOON * 90), is_shared).await;
    for len in lengths {
        fetches(&ann, &Content::of(payload(len, 10)), &len.to_string()).await;
    }
    // Some of the small ones: they are all in the table.
    let every = (small / 100).max(1);
    for number in (0..small).step_by(usize::try_from(every).expect("small")) {
        let info =
            tnet_testkit::describe(&number.to_le_bytes(), tnet_fileinfo::ChunkSize::default_for(8));
        network.coordinator_counts(info.hash(), 1, 0).await;
    }
    format!("{} of {} lengths, {small} small files shared", lengths.len(), lengths.len())
}

async fn fetches(user: &Cli, content: &Content, name: &str) {
    let description = format!("{name}.fileinfo");
    let get = [
        "get",
        &description,
        "-o",
        name,
        "--foreground",
        "--linger",
        "0s",
        "--listen",
        "127.0.0.1:0",
    ];
    user.run_within(SOON, get).await.with_code(0);
    content.is_at(&user.path(name)).await;
}

async fn a_forged_description_is_refused_before_the_first_request() -> String {
    let network = Network::builder().start().await;
    let user = network.user("ann");
    let content = Content::of(payload(3_000_000, 19));
    let forger = network.raw(content.raw_peer().describing(Description::Forged)).await;
    let hash = content.hash().to_string();
    let by_hash = user.run_within(SOON, get_args(&hash, &["--timeout", "2s"]));
    is_refused(by_hash.await, user.home());
    let described = forger.counters().described;
    assert!(described >= 1, "the forger was asked");
    // The same lie as a file, and one with a true list of sums under another hash.
    let honest = content.info().to_json();
    let other = Content::of(payload(3_000_000, 20));
    let sum = |content: &Content| {
        let description: Value =
            serde_json::from_str(&content.info().to_json()).expect("our own JSON");
        description["sums"][0].as_str().expect("a sum is text").to_owned()
    };
    let lies = [
        honest.replace(&sum(&content), &sum(&other)),
        honest.replace(&hash, &other.hash().to_string()),
    ];
    for lie in lies {
        assert_ne!(lie, honest);
        fs::write(user.path("forged.fileinfo"), lie).expect("writable");
        is_refused(user.run(get("forged.fileinfo")).await, user.home());
    }
    assert_eq!(forger.counters().requests_in_all(), 0, "not one chunk was asked for");
    "3 of 3 refused; 0 bytes of the file asked for".to_owned()
}
