//! The cost of a verified download without any decisions: one `sendfile` for the whole file at the
//! seed; at the receiver read a chunk, hash it, write it, in a loop. The difference to a tool that
//! verifies is the tool's overhead.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod floor;

#[cfg(any(target_os = "linux", target_os = "android"))]
fn main() -> std::io::Result<()> {
    floor::main()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn main() {
    println!("tnet-floor sends with sendfile, which this system does not have");
}
