//! Memory that buffers of any size share: a returned range is merged with its free neighbours and reused.
//!
//! A model's activations come and go in many sizes. If each size had a free list of its own, memory would be held for all of
//! them at once. Here buffers are cut from large regions, at the lowest address where they fit, so that the memory ever
//! touched is little more than the peak ever in use (first fit in order of address; Knuth, The Art of Computer
//! Programming, volume 1, section 2.5). The system provides a region's pages when they are first touched.
//!
//! It is part of this crate because it needs `unsafe`, which the crates above forbid.

use crate::sys;
use bytemuck::Pod;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers begin and end on cache lines.
const LINE: usize = 64;
/// Bytes of a region, unless a buffer needs more or the system has less. Untouched pages cost nothing.
const REGION: usize = 1 << 30;

/// There is not enough memory for a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl std::error::Error for OutOfMemory {}

/// Regions of memory, and their free ranges.
pub struct Arena {
    state: Mutex<ArenaState>,
}

struct ArenaState {
    regions: Vec<Region>,
    used: ArenaUse,
}

/// How much memory of an arena is in use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArenaUse {
    /// In live buffers.
    pub in_use: usize,
    /// Maximum of `in_use` since the start.
    pub peak: usize,
    /// In regions, touched or not.
    pub held: usize,
}

/// Zeroed on creation; shared with the buffers that are cut from it.
struct RegionMemory(Vec<u64>);

struct Region {
    memory: Arc<RegionMemory>,
    /// First cache line.
    base: *mut u8,
    bytes: usize,
    /// Start and length of each free range, in bytes from `base`. No two touch each other.
    free: BTreeMap<usize, usize>,
}

// SAFETY: `base` points into `memory`, which the region owns a share of; the region itself never reads or writes there.
unsafe impl Send for Region {}

impl Region {
    fn new(bytes: usize) -> Result<Region, OutOfMemory> {
        let words = bytes.checked_add(LINE).ok_or(OutOfMemory)?.div_ceil(size_of::<u64>());
        let mut memory = bytemuck::allocation::try_zeroed_vec::<u64>(words).map_err(|()| OutOfMemory)?;
        let start: *mut u8 = memory.as_mut_ptr().cast();
        let base = start.wrapping_add(start.align_offset(LINE));
        sys::prefer_huge_pages(&mut memory);
        Ok(Region { memory: Arc::new(RegionMemory(memory)), base, bytes, free: BTreeMap::from([(0, bytes)]) })
    }

    /// Cuts off the first range that is long enough.
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let (&start, &len) = self.free.iter().find(|(_, len)| **len >= bytes)?;
        self.free.remove(&start);
        if len > bytes {
            self.free.insert(start + bytes, len - bytes);
        }
        Some(start)
    }

    /// Takes a range back and merges it with its free neighbours.
    fn put_back(&mut self, mut start: usize, mut bytes: usize) {
        if let Some(after) = self.free.remove(&(start + bytes)) {
            bytes += after;
        }
        if let Some((&before, &len)) = self.free.range(..start).next_back()
            && before + len == start
        {
            self.free.remove(&before);
            start = before;
            bytes += len;
        }
        self.free.insert(start, bytes);
    }
}

impl Arena {
    /// An arena without memory.
    #[must_use]
    pub const fn new() -> Arena {
        let used = ArenaUse { in_use: 0, peak: 0, held: 0 };
        Arena { state: Mutex::new(ArenaState { regions: Vec::new(), used }) }
    }

    /// The state is consistent between statements: a panic elsewhere cannot leave it broken.
    fn lock(&self) -> MutexGuard<'_, ArenaState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of at least `bytes` bytes, aligned to a cache line. Its contents are arbitrary.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn take(&'static self, bytes: usize) -> Result<Buffer, OutOfMemory> {
        let bytes = bytes.max(1).checked_next_multiple_of(LINE).ok_or(OutOfMemory)?;
        let state = &mut *self.lock();
        let found =
            state.regions.iter_mut().find_map(|region| region.take(bytes).map(|start| (region, start)));
        let (region, start) = match found {
            Some(found) => found,
            None => {
                let region = Region::new(bytes.max(REGION)).or_else(|_| Region::new(bytes))?;
                state.used.held += region.bytes;
                state.regions.push(region);
                let region = state.regions.last_mut().ok_or(OutOfMemory)?;
                let start = region.take(bytes).ok_or(OutOfMemory)?;
                (region, start)
            }
        };
        state.used.in_use += bytes;
        state.used.peak = state.used.peak.max(state.used.in_use);
        let first = region.base.wrapping_add(start);
        Ok(Buffer { arena: self, memory: region.memory.clone(), first, bytes })
    }

    /// Returns regions without buffers to the system: at the end of a stage.
    pub fn trim(&self) {
        let state = &mut *self.lock();
        state.regions.retain(|region| region.free.get(&0) != Some(&region.bytes));
        state.used.held = state.regions.iter().map(|region| region.bytes).sum();
    }

    /// Returns the pages of free ranges to the system where possible: they cost time when they are next touched.
    pub fn release(&self) {
        for region in &mut self.lock().regions {
            for (&start, &bytes) in &region.free {
                // SAFETY: the range is in the region and in no buffer, and only buffers rely on contents; none is cut from it
                // while the state is locked.
                unsafe { sys::release_pages(region.base.wrapping_add(start), bytes) };
            }
        }
    }

    /// How much memory is in use.
    #[must_use]
    pub fn used(&self) -> ArenaUse {
        self.lock().used
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Arena").field(&self.used()).finish()
    }
}

impl Default for Arena {
    fn default() -> Arena {
        Arena::new()
    }
}

/// A part of an arena's memory, viewed as values of any plain type. It is returned on drop.
pub struct Buffer {
    arena: &'static Arena,
    /// Keeps the region alive.
    memory: Arc<RegionMemory>,
    first: *mut u8,
    bytes: usize,
}

// SAFETY: the buffer's range belongs to it alone until it is dropped.
unsafe impl Send for Buffer {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Its size in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes
    }

    /// Returns what is beyond the first `bytes` bytes to the arena.
    pub fn shrink(&mut self, bytes: usize) {
        let kept = bytes.max(1).next_multiple_of(LINE);
        if kept < self.bytes {
            // The rest as a buffer of its own, which is dropped.
            let (arena, memory) = (self.arena, self.memory.clone());
            drop(Buffer { arena, memory, first: self.first.wrapping_add(kept), bytes: self.bytes - kept });
            self.bytes = kept;
        }
    }

    /// The first `len` values.
    ///
    /// # Panics
    /// If there is no room for them.
    #[must_use]
    pub fn view<T: Pod>(&self, len: usize) -> &[T] {
        // SAFETY: the range is in the region's memory, which lives, was zeroed on creation, and is this buffer's alone.
        let bytes = unsafe { std::slice::from_raw_parts(self.first, self.bytes) };
        &bytemuck::cast_slice(bytes)[..len]
    }

    /// The first `len` values, to write.
    ///
    /// # Panics
    /// If there is no room for them.
    #[must_use]
    pub fn view_mut<T: Pod>(&mut self, len: usize) -> &mut [T] {
        // SAFETY: as above, and the buffer is borrowed for writing.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.first, self.bytes) };
        &mut bytemuck::cast_slice_mut(bytes)[..len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let state = &mut *self.arena.lock();
        state.used.in_use -= self.bytes;
        // A region stays in its arena while a buffer is in it.
        if let Some(region) =
            state.regions.iter_mut().find(|region| Arc::ptr_eq(&region.memory, &self.memory))
        {
            region.put_back(self.first.addr() - region.base.addr(), self.bytes);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes of {})", self.bytes, size_of_val(&self.memory.0[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;
    use proptest::prelude::*;

    fn arena() -> &'static Arena {
        Box::leak(Box::new(Arena::new()))
    }

    #[test]
    fn buffers_are_aligned_and_counted() {
        let arena = arena();
        for bytes in [0, 1, 64, 65, 1000] {
            let mut buffer = arena.take(bytes).unwrap();
            assert!(buffer.capacity() >= bytes && buffer.capacity() <= bytes + LINE);
            assert_eq!(buffer.view::<f32>(bytes / 4).as_ptr() as usize % LINE, 0);
            buffer.view_mut::<u8>(bytes).fill(7);
            assert!(buffer.view::<u8>(bytes).iter().all(|b| *b == 7));
            assert_eq!(arena.used().in_use, buffer.capacity());
        }
        assert_eq!(arena.used(), ArenaUse { in_use: 0, peak: 1024, held: REGION });
        arena.trim();
        assert_eq!(arena.used(), ArenaUse { in_use: 0, peak: 1024, held: 0 });
    }

    #[test]
    fn returned_ranges_are_merged_and_reused() {
        let arena = arena();
        let at = |buffer: &Buffer| buffer.view::<u8>(0).as_ptr() as usize;
        let [a, b, c] = [1000, 2000, 3000].map(|bytes| arena.take(bytes).unwrap());
        let first = at(&a);
        drop(b);
        drop(a);
        let joined = arena.take(3000).unwrap();
        assert_eq!(at(&joined), first, "the first two ranges together");
        let beyond = arena.take(3000).unwrap();
        assert!(at(&beyond) > at(&c));
        arena.trim();
        assert_eq!(arena.used().held, REGION, "a region in use stays");
    }

    #[test]
    fn a_shrunk_buffer_returns_the_rest() {
        let arena = arena();
        let mut a = arena.take(1024).unwrap();
        a.view_mut::<u8>(100).fill(9);
        a.shrink(100);
        assert_eq!((a.capacity(), arena.used().in_use), (128, 128));
        let b = arena.take(512).unwrap();
        assert_eq!(b.view::<u8>(0).as_ptr() as usize, a.view::<u8>(0).as_ptr() as usize + 128);
        a.shrink(4096);
        assert_eq!(a.view::<u8>(100), [9; 100], "nothing to cut off");
        drop((a, b));
        assert_eq!(arena.used().in_use, 0);
        assert_eq!(arena.take(REGION).unwrap().capacity(), REGION, "all parts are merged again");
    }

    #[test]
    fn released_pages_can_be_reused_and_live_buffers_stay() {
        let arena = arena();
        let [mut a, mut b] = [1 << 20, 3 << 20].map(|bytes| arena.take(bytes).unwrap());
        a.view_mut::<u8>(1 << 20).fill(5);
        b.view_mut::<u8>(3 << 20).fill(6);
        drop(a);
        arena.release();
        let mut c = arena.take(1 << 20).unwrap();
        // Elsewhere nothing is returned.
        let is_zero = c.view::<u8>(1 << 20)[1 << 19] == 0;
        assert_eq!(is_zero, cfg!(target_os = "linux"));
        c.view_mut::<u8>(1 << 20).fill(7);
        assert!(
            b.view::<u8>(3 << 20).iter().all(|v| *v == 6) && c.view::<u8>(1 << 20).iter().all(|v| *v == 7)
        );
    }

    #[test]
    fn a_large_buffer_has_a_region_of_its_own_and_a_huge_one_is_an_error() {
        let arena = arena();
        let large = arena.take(REGION + 1).unwrap();
        assert!(large.capacity() > REGION && arena.used().held > REGION);
        assert_eq!(arena.take(usize::MAX / 2).unwrap_err(), OutOfMemory);
        assert_eq!(arena.take(usize::MAX).unwrap_err(), OutOfMemory);
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn a_view_beyond_the_end_is_refused() {
        let _ = arena().take(64).unwrap().view::<f32>(17);
    }

    proptest! {
        #[test]
        fn buffers_never_overlap(sizes in prop::collection::vec((1usize..5000, 0usize..8), 1..60)) {
            let arena = arena();
            let mut live: Vec<(Buffer, Vec<f32>)> = Vec::new();
            for (i, (len, drops)) in sizes.into_iter().enumerate() {
                let values = random(i as u64, len);
                let mut buffer = arena.take(4 * len).unwrap();
                buffer.view_mut(len).copy_from_slice(&values);
                live.push((buffer, values));
                if drops < live.len() {
                    live.swap_remove(drops);
                }
                for (buffer, values) in &live {
                    prop_assert_eq!(buffer.view::<f32>(values.len()), &values[..]);
                }
            }
            live.clear();
            arena.trim();
            prop_assert_eq!(arena.used().held, 0);
        }
    }
}
