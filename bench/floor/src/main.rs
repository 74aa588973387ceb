//! What the bytes of a verified download cost when nobody decides anything: one `sendfile` for the
//! whole file at the seed; at the receiver read a chunk, hash it, write it, again. What a tool that
//! verifies takes beyond this is its own.

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
