//! Where the lists of each message are. A list is decoded only when its length is within its own
//! limit and the bytes for all of its items are there, so decoding allocates in proportion to the
//! bytes received.
//!
//! The tables below also give every message its name and number; leaving a message out does not
//! compile.

use crate::coordinator::{CoordinatorReply, CoordinatorRequest};
use crate::limits::{
    MAX_BITMAP_LEN, MAX_DATA_LEN, MAX_EXTENSION_LEN, MAX_HAVE_CHUNKS, MAX_HOLDERS, MAX_INFO_SUMS,
    MAX_REPORT_ENTRIES, MAX_TAIL_LEAF, MAX_TAIL_PATH,
};
use crate::message::{DecodeError, WireMessage};
use crate::peer::PeerMessage;

/// What can be encoded here. Not nameable outside, which seals [`WireMessage`] and hides bincode.
pub trait Wire: bincode::Encode + bincode::Decode<()> {
    /// The fields of each message up to its last list, by message number.
    const SHAPES: &'static [&'static [Field]];
}

/// A stretch of an encoded message.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// This many bytes without any list in them.
    Fixed(usize),
    /// A u64 count of items. `item` is the encoded length of one; where items differ in length it
    /// is the shortest, and the list is the last field.
    List { item: usize, max: usize },
    /// A u32 variant; variant 1 goes on with a bitmap.
    Holdings,
    /// The u32 offset of a part of a chunk, then its bytes: at least one.
    Part,
}

use Field::{Fixed, Holdings, List, Part};

const HASH: usize = 32;
/// The IPv4 form: a u32 variant, four bytes, a u16 port. IPv6 is longer.
const SHORTEST_ADDRESS: usize = 4 + 4 + 2;
const REPORT_ENTRY: usize = HASH + 8 + 4;
const EXTENSION: [Field; 2] = [Fixed(4), List { item: 1, max: MAX_EXTENSION_LEN }];

macro_rules! shapes {
    ($message:ident, $kind:ident { $($name:ident: $fields:expr,)+ }) => {
        #[doc = concat!("The kinds of [`", stringify!($message), "`], by their numbers on the wire.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum $kind {
            $(
                #[doc = concat!("[`", stringify!($message), "::", stringify!($name), "`]")]
                $name,
            )+
        }

        impl $kind {
            /// The number on the wire.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// The kind with this number; `None` if no message has it.
            pub fn of(number: u32) -> Option<Self> {
                const ALL: &[$kind] = &[$($kind::$name),+];
                ALL.get(usize::try_from(number).ok()?).copied()
            }
        }

        impl Wire for $message {
            const SHAPES: &'static [&'static [Field]] = &[$(&$fields),+];
        }

        impl WireMessage for $message {
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            fn name(&self) -> &'static str {
                match self {
                    $($message::$name { .. } => stringify!($name)),+
                }
            }

            fn number(&self) -> u32 {
                match self {
                    $($message::$name { .. } => $kind::$name.number()),+
                }
            }
        }
    };
}

shapes!(
    PeerMessage,
    PeerMessageKind {
        Hello: [],
        Open: [Fixed(4 + HASH + 8 + 4), Holdings],
        NotFound: [],
        Close: [],
        Have: [Fixed(4), List { item: 4, max: MAX_HAVE_CHUNKS }],
        Request: [],
        Data: [Fixed(4 + 4), Part],
        Busy: [],
        Ready: [],
        Suggest: [],
        Cancel: [],
        Stopped: [],
        Refused: [],
        InfoRequest: [],
        Info: [
            Fixed(HASH + 8 + 4),
            List { item: 1, max: MAX_TAIL_LEAF },
            List { item: HASH, max: MAX_TAIL_PATH },
            Fixed(4),
            List { item: HASH, max: MAX_INFO_SUMS },
        ],
        InfoNotFound: [],
        Peers: [Fixed(4), List { item: SHORTEST_ADDRESS, max: MAX_HOLDERS }],
        Ping: [],
        Pong: [],
        Bye: [],
        Unsupported: [],
        Extension: EXTENSION,
        Corrupt: [],
    }
);

shapes!(
    CoordinatorRequest,
    CoordinatorRequestKind {
        Hello: [],
        Report: [Fixed(8 + 1), List { item: REPORT_ENTRY, max: MAX_REPORT_ENTRIES }],
        Heartbeat: [],
        Lookup: [],
        Watch: [],
        Unwatch: [],
        Bye: [],
        Unsupported: [],
        Extension: EXTENSION,
        Calls: [List { item: SHORTEST_ADDRESS + 1, max: MAX_HOLDERS }],
    }
);

shapes!(
    CoordinatorReply,
    CoordinatorReplyKind {
        Welcome: [],
        Accepted: [],
        Renewed: [],
        Resync: [],
        Holders: [Fixed(HASH + 4 + 4), List { item: SHORTEST_ADDRESS + 4, max: MAX_HOLDERS }],
        LimitReached: [],
        Bye: [],
        Unsupported: [],
        Extension: EXTENSION,
    }
);

/// Checks the message number and every list length of an encoded `M`.
pub(crate) fn check<M: WireMessage>(body: &[u8]) -> Result<(), DecodeError> {
    let mut rest = Unread(body);
    let number = rest.u32()?;
    let fields = usize::try_from(number).ok().and_then(|number| M::SHAPES.get(number));
    for field in *fields.ok_or(DecodeError::UnknownMessage { number })? {
        match *field {
            Fixed(len) => rest.skip(len)?,
            List { item, max } => rest.list(item, max)?,
            Holdings => rest.holdings()?,
            Part => rest.part()?,
        }
    }
    Ok(())
}

/// The bytes of a message that were not looked at yet.
struct Unread<'a>(&'a [u8]);

impl Unread<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn skip(&mut self, len: usize) -> Result<(), DecodeError> {
        self.0 = self.0.get(len..).ok_or(DecodeError::Truncated)?;
        Ok(())
    }

    fn list(&mut self, item: usize, max: usize) -> Result<(), DecodeError> {
        let len = self.u64()?;
        match usize::try_from(len) {
            Ok(len) if len <= max => self.skip(len * item),
            _ => Err(DecodeError::TooLong { len, max }),
        }
    }

    fn holdings(&mut self) -> Result<(), DecodeError> {
        match self.u32()? {
            1 => self.list(1, MAX_BITMAP_LEN),
            _ => Ok(()),
        }
    }

    fn part(&mut self) -> Result<(), DecodeError> {
        let offset = self.u32()?;
        let len = self.u64()?;
        match u32::try_from(len) {
            Ok(len) if len > 0 && len as usize <= MAX_DATA_LEN => {
                offset.checked_add(len).ok_or(DecodeError::Malformed)?;
                self.skip(len as usize)
            }
            _ => Err(DecodeError::TooLong { len, max: MAX_DATA_LEN }),
        }
    }
}
