//! Byte-pair encoding: the bytes of a word, merged pair by pair.
//!
//! The vocabulary is 256 bytes, in CLIP's the same 256 at the end of a word, and one piece for each merge, in order. So the rank
//! of a merge gives the id of its piece, and no table of names is needed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

/// Number of pieces that are a single byte.
const BYTES: u32 = 256;
/// Suffix in the file of a piece that ends a word.
pub(super) const END_OF_WORD: &str = "</w>";

#[derive(Debug)]
pub(super) struct Bpe {
    /// Id of each byte within a word; at the end of a word it is [`BYTES`] more, where that makes a difference.
    byte_ids: [u32; 256],
    /// Id of the first merged piece.
    first_merged: u32,
    /// The two pieces of each merge, by rank.
    pairs: Vec<[u32; 2]>,
    /// Rank of each pair of pieces that is merged; the lowest rank is merged first.
    ranks: HashMap<[u32; 2], u32>,
}

impl Bpe {
    /// Reads the merges of a vocabulary that knows ends of words, a pair of pieces on each line, the first to be merged first.
    ///
    /// # Panics
    /// If the text is not a list of merges. It is part of the program.
    pub(super) fn new(merges: &str) -> Bpe {
        let mut names: HashMap<String, u32> = HashMap::with_capacity(50_000);
        for (id, (_, letter)) in (0..).zip(byte_letters()) {
            names.insert(letter.to_string(), id);
            names.insert(format!("{letter}{END_OF_WORD}"), id + BYTES);
        }
        let mut pairs = Vec::with_capacity(names.capacity());
        for (rank, line) in (0..).zip(merges.lines()) {
            let (left, right) = line.split_once(' ').expect("a line of merges.txt has two pieces");
            pairs.push([names[left], names[right]]);
            names.insert(format!("{left}{right}"), 2 * BYTES + rank);
        }
        Bpe::with_first_merged(2 * BYTES, pairs)
    }

    /// A vocabulary that knows no ends of words, with the ids of both pieces of each merge, the first to be merged first.
    pub(super) fn of_pairs(pairs: Vec<[u32; 2]>) -> Bpe {
        Bpe::with_first_merged(BYTES, pairs)
    }

    fn with_first_merged(first_merged: u32, pairs: Vec<[u32; 2]>) -> Bpe {
        let mut byte_ids = [0; 256];
        for (id, (byte, _)) in (0..).zip(byte_letters()) {
            byte_ids[usize::from(byte)] = id;
        }
        let ranks = pairs.iter().copied().zip(0..).collect();
        Bpe { byte_ids, first_merged, pairs, ranks }
    }

    /// Whether the last byte of a word has another id.
    fn has_word_ends(&self) -> bool {
        self.first_merged > BYTES
    }

    /// Appends the ids of a word.
    pub(super) fn encode(&self, word: &[u8], ids: &mut Vec<u32>) {
        ids.extend(self.pieces(word).map(|(id, _)| id));
    }

    /// The ids of a word, each with its bytes, in O(n log n), so that a word of a megabyte takes no longer than many short ones.
    pub(super) fn pieces(&self, word: &[u8]) -> impl Iterator<Item = (u32, Range<usize>)> {
        let mut chain = Chain::new(word.iter().map(|byte| self.byte_ids[usize::from(*byte)]));
        if let Some(last) = chain.pieces.last_mut().filter(|_| self.has_word_ends()) {
            last.id += BYTES;
        }
        // The pair of lowest rank is merged first; of equal ones, the leftmost.
        let mut queue = BinaryHeap::new();
        let propose = |queue: &mut BinaryHeap<_>, chain: &Chain, left: usize| {
            if let Some(rank) = chain.pair(left).and_then(|pair| self.ranks.get(&pair)) {
                queue.push(Reverse((*rank, left)));
            }
        };
        for left in 0..word.len() {
            propose(&mut queue, &chain, left);
        }
        while let Some(Reverse((rank, left))) = queue.pop() {
            // A queued pair may have been merged into something else since.
            if chain.pair(left) != Some(self.pairs[rank as usize]) {
                continue;
            }
            chain.merge(left, self.first_merged + rank);
            propose(&mut queue, &chain, left);
            if let Some(before) = chain.pieces[left].previous {
                propose(&mut queue, &chain, before);
            }
        }
        chain.into_pieces()
    }

    /// Id of a byte within a word.
    #[cfg(test)]
    pub(super) fn byte_id(&self, byte: u8) -> u32 {
        self.byte_ids[usize::from(byte)]
    }

    /// Rank of a pair of pieces.
    #[cfg(test)]
    pub(super) fn rank(&self, pair: [u32; 2]) -> Option<u32> {
        self.ranks.get(&pair).copied()
    }

    /// Appends the bytes of a piece, and a space if it ends a word.
    pub(super) fn decode(&self, id: u32, bytes: &mut Vec<u8>) {
        if let Some([left, right]) =
            id.checked_sub(self.first_merged).and_then(|rank| self.pairs.get(rank as usize))
        {
            self.decode(*left, bytes);
            self.decode(*right, bytes);
        } else if let Some(byte) = self.byte_ids.iter().position(|known| *known == id % BYTES)
            && id < self.first_merged
        {
            bytes.push(byte as u8);
            if id >= BYTES {
                bytes.push(b' ');
            }
        }
    }
}

/// The bytes in the order of their ids, each with the letter that represents it in the list of merges: printable characters
/// of Latin-1 represent themselves, the others are the characters from U+0100 on (GPT-2's `bytes_to_unicode`).
pub(super) fn byte_letters() -> impl Iterator<Item = (u8, char)> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=255).filter(move |byte| !printable(byte)).zip('\u{100}'..);
    (0..=255).filter(printable).map(|byte| (byte, char::from(byte))).chain(others)
}

/// A piece in a doubly linked list.
struct LinkedPiece {
    id: u32,
    previous: Option<usize>,
    next: Option<usize>,
    /// False once it has been merged into the piece before it.
    alive: bool,
}

/// The pieces of a word, linked so that two are merged in constant time.
struct Chain {
    pieces: Vec<LinkedPiece>,
}

impl Chain {
    fn new(ids: impl ExactSizeIterator<Item = u32>) -> Chain {
        let len = ids.len();
        let piece = |(at, id): (usize, u32)| {
            let next = (at + 1 < len).then_some(at + 1);
            LinkedPiece { id, previous: at.checked_sub(1), next, alive: true }
        };
        Chain { pieces: ids.enumerate().map(piece).collect() }
    }

    /// The ids of a piece and of the next, if both exist.
    fn pair(&self, left: usize) -> Option<[u32; 2]> {
        let piece = &self.pieces[left];
        let next = piece.next.filter(|_| piece.alive)?;
        Some([piece.id, self.pieces[next].id])
    }

    /// Makes a piece and the next one piece.
    fn merge(&mut self, left: usize, id: u32) {
        let Some(right) = self.pieces[left].next else { return };
        let after = self.pieces[right].next;
        self.pieces[right].alive = false;
        self.pieces[left].id = id;
        self.pieces[left].next = after;
        if let Some(after) = after {
            self.pieces[after].previous = Some(left);
        }
    }

    /// The ids of the pieces and what each covers.
    fn into_pieces(self) -> impl Iterator<Item = (u32, Range<usize>)> {
        let len = self.pieces.len();
        let alive = self.pieces.into_iter().enumerate().filter(|(_, piece)| piece.alive);
        alive.map(move |(at, piece)| (piece.id, at..piece.next.unwrap_or(len)))
    }
}
