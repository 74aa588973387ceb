//! The paths and their inputs. All inputs are made from fixed seeds, so that each step does the
//! same work everywhere.

mod chunks;
mod messages;
mod swarm;
mod table;

/// One repetition; returns a value that depends on the work.
pub(crate) type Step = Box<dyn FnMut() -> u64>;

/// A path to be measured.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Makes the input; not measured.
    pub(crate) prepare: fn() -> Step,
}

pub(crate) fn all() -> Vec<Work> {
    vec![
        Work {
            name: "codec",
            about: "encode and decode an announcement of 16 chunks",
            prepare: messages::codec,
        },
        Work {
            name: "data-head",
            about: "write and parse the head of a piece of a chunk",
            prepare: messages::data_head,
        },
        Work { name: "verify-64k", about: "the sum of a chunk of 64 KiB", prepare: chunks::verify },
        Work {
            name: "chunk-set",
            about: "what one half-full set of 8192 chunks has over another",
            prepare: chunks::difference,
        },
        Work {
            name: "picker",
            about: "a chunk from request to stored, 50 neighbours, 8192 chunks",
            prepare: swarm::picker,
        },
        Work {
            name: "uploads",
            about: "a request answered and sent, 50 neighbours",
            prepare: swarm::uploads,
        },
        Work {
            name: "heartbeat",
            about: "one peer of 10 000 says that nothing changed",
            prepare: table::heartbeat,
        },
        Work {
            name: "handout",
            about: "50 holders of a file out of 10 000",
            prepare: table::handout,
        },
    ]
}
