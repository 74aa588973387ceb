//! Reads the payload from its members. A member that is missing, too short or not ours any more
//! ends the payload there.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tnet_fileinfo::tree::Span;

use super::fault::TreeFault;
use super::{PartialTree, WORTH_KEEPING};
use crate::content_bytes::ContentBytes;
use crate::sys;

impl ContentBytes for PartialTree {
    fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        let mut done = 0;
        for (span, part) in self.parts(position, buf.len()) {
            FileExt::read_exact_at(
                &*self.file_of(&span)?,
                &mut buf[part.clone()],
                span.within.start,
            )?;
            done = part.end;
        }
        if done == buf.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn read_cached(&self, buf: &mut [u8], position: u64) -> bool {
        let mut done = 0;
        for (span, part) in self.parts(position, buf.len()) {
            let Some(file) = self.file_at_once(&span) else { return false };
            if !sys::read_cached(&file, &mut buf[part.clone()], span.within.start) {
                return false;
            }
            done = part.end;
        }
        done == buf.len()
    }

    fn drop_cached(&self, range: Range<u64>) {
        for span in self.layout.spans(range) {
            if let Ok(file) = self.file_of(&span) {
                sys::drop_cached(&file, span.within.clone());
            }
        }
    }
}

impl PartialTree {
    /// The spans that `len` bytes from `position` are in, each with its place among these bytes.
    fn parts(&self, position: u64, len: usize) -> impl Iterator<Item = (Span, Range<usize>)> {
        let end = position.saturating_add(len as u64);
        self.layout.spans(position..end).scan(0_usize, move |at, span| {
            // Spans have no more bytes than were asked for.
            let begin = *at;
            *at = begin.saturating_add(usize::try_from(span.len()).unwrap_or(len)).min(len);
            Some((span, begin..*at))
        })
    }

    /// The file that holds `len` bytes from `position` in the payload, and where in it, if they are
    /// in one large member and in memory, as far as the first and the last one tell.
    pub(crate) fn cached_part(&self, position: u64, len: u32) -> Option<(Arc<File>, u64)> {
        let span = self.layout.spans(position..position.checked_add(len.into())?).next()?;
        if span.len() < u64::from(len) || self.member(span.member).size() < WORTH_KEEPING {
            return None;
        }
        let file = self.file_at_once(&span)?;
        let is_cached = |at| self.is_in_memory || sys::read_cached(&file, &mut [0], at);
        (is_cached(span.within.start) && is_cached(span.within.end - 1))
            .then_some((file, span.within.start))
    }

    /// The next stretch of the payload at or after `from` that may hold data; `None` if only holes
    /// follow before `end`.
    ///
    /// # Errors
    /// A member cannot be opened.
    pub(crate) fn next_data(&self, from: u64, end: u64) -> io::Result<Option<Range<u64>>> {
        let mut data: Option<Range<u64>> = None;
        let mut position = from;
        for span in self.layout.spans(from..end) {
            let begin = position;
            position += span.len();
            let found = self.data_in(&span)?.map(|found| {
                let offset = |within| begin + (within - span.within.start);
                offset(found.start)..offset(found.end)
            });
            data = match (data, found) {
                (None, None) => None,
                (Some(data), Some(found)) if data.end == found.start => Some(data.start..found.end),
                (Some(data), _) => return Ok(Some(data)),
                (None, found) => found,
            };
        }
        Ok(data)
    }

    /// The first data of a member in a span.
    fn data_in(&self, span: &Span) -> io::Result<Option<Range<u64>>> {
        if !self.is_present(span.member) {
            return Ok(None);
        }
        if self.member(span.member).size() < WORTH_KEEPING {
            // To look is as much work as to read it.
            return Ok(Some(span.within.clone()));
        }
        match self.file_of(span) {
            Ok(file) => sys::next_data(&file, span.within.start, span.within.end),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn file_of(&self, span: &Span) -> io::Result<Arc<File>> {
        if let Some(file) = self.place.handles.find(span.member) {
            return Ok(file);
        }
        if !self.is_present(span.member) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let member = self.member(span.member);
        let file = self.open_present(&member).map_err(|fault| match fault {
            TreeFault::Gone { .. } | TreeFault::Foreign { .. } => {
                io::Error::new(io::ErrorKind::UnexpectedEof, fault)
            }
            other => other.into(),
        })?;
        Ok(self.kept(span, member.size(), file))
    }

    fn file_at_once(&self, span: &Span) -> Option<Arc<File>> {
        if let Some(file) = self.place.handles.find(span.member) {
            return Some(file);
        }
        if !self.is_present(span.member) {
            return None;
        }
        let member = self.member(span.member);
        let file = self.place.open_file_at_once(member.path)?;
        Some(self.kept(span, member.size(), file))
    }

    fn kept(&self, span: &Span, size: u64, file: File) -> Arc<File> {
        if size >= WORTH_KEEPING {
            self.place.handles.keep(span.member, file)
        } else {
            Arc::new(file)
        }
    }
}
