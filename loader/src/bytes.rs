//! Bytes that do not change, wherever they are.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// What bytes can be a part of: memory that was read into, a mapped file, a slice built into the program.
type Owner = dyn AsRef<[u8]> + Send + Sync;

/// A range of bytes that keeps alive what it is a part of. Cheap to clone; the bytes never change and are not copied.
///
/// They begin at any address, without any alignment.
///
/// ```
/// use latent_loader::Bytes;
///
/// let bytes = Bytes::from(vec![1, 2, 3]);
/// let same = bytes.clone();
/// assert_eq!(bytes.as_ptr(), same.as_ptr());
/// assert_eq!(same, Bytes::from_static(&[1, 2, 3]));
/// ```
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<Owner>,
    /// Within the owner's bytes.
    range: Range<usize>,
}

impl Bytes {
    /// All bytes of an owner, which must give the same ones each time.
    pub(crate) fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Bytes {
        let range = 0..owner.as_ref().len();
        Bytes { owner: Arc::new(owner), range }
    }

    /// Bytes that live as long as the program.
    #[must_use]
    pub fn from_static(bytes: &'static [u8]) -> Bytes {
        Bytes::new(bytes)
    }

    /// `len` of these bytes from `start` on, in the same place; `None` where they end before that.
    #[must_use]
    pub fn slice(&self, start: u64, len: usize) -> Option<Bytes> {
        let start = usize::try_from(start).ok()?.checked_add(self.range.start)?;
        let range = start..start.checked_add(len)?;
        (range.end <= self.range.end).then(|| Bytes { owner: self.owner.clone(), range })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes::new(bytes)
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    /// Their number: a tensor's bytes would fill screens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_not_a_copy() {
        let all = Bytes::from(vec![0, 1, 2, 3, 4, 5]);
        let some = all.slice(2, 3).unwrap();
        assert_eq!((&*some, some.as_ptr()), (&[2, 3, 4][..], all[2..].as_ptr()));
        let fewer = some.slice(1, 2).unwrap();
        assert_eq!(fewer.as_ptr(), all[3..].as_ptr());
        drop((all, some));
        assert_eq!(*fewer, [3, 4]);
    }

    #[test]
    fn a_slice_ends_with_what_it_is_cut_from() {
        let some = Bytes::from_static(&[0, 1, 2, 3]).slice(1, 2).unwrap();
        assert_eq!(some.slice(2, 0).as_deref(), Some(&[][..]));
        for (start, len) in [(0, 3), (3, 0), (1, usize::MAX), (u64::MAX, 1), (u64::MAX, usize::MAX)] {
            assert!(some.slice(start, len).is_none(), "{start} {len}");
        }
    }

    #[test]
    fn bytes_go_wherever_an_owner_must_go() {
        let owner: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(Bytes::from_static(&[7; 3]));
        assert_eq!((*owner).as_ref(), [7; 3]);
        assert_eq!(format!("{:?}", Bytes::from_static(&[7; 3])), "Bytes(3)");
    }
}
