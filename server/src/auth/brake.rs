//! A brake on guessing keys.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong keys within [`WINDOW`] after which an address must wait.
const MAX_WRONG: u32 = 20;
/// The time in which wrong keys are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// How long an address must wait.
const BRAKED: Duration = Duration::from_secs(60);
/// How long it is remembered that an address gave the key.
const KNOWN: Duration = Duration::from_secs(24 * 3600);
/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;

/// Counts the wrong keys of each address.
///
/// An address that must wait is not even answered whether a key is right. But of this machine's own address, which is a
/// reverse proxy's, and of an address that gave the key before, which may be a proxy's, too, only wrong keys must wait:
/// otherwise one guest behind it could lock out all others.
#[derive(Debug, Default)]
pub(super) struct GuessBrake(Mutex<HashMap<IpAddr, Guesses>>);

#[derive(Debug)]
struct Guesses {
    /// When the first of the wrong keys came that are counted together.
    since: Instant,
    wrong: u32,
    braked_until: Option<Instant>,
    known_until: Option<Instant>,
}

impl Guesses {
    fn new(now: Instant) -> Guesses {
        Guesses { since: now, wrong: 0, braked_until: None, known_until: None }
    }

    fn is_known(&self, now: Instant) -> bool {
        self.known_until.is_some_and(|until| now < until)
    }

    /// Whether nothing follows from it any more.
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= WINDOW
            && self.braked_until.is_none_or(|until| until <= now)
            && !self.is_known(now)
    }
}

impl GuessBrake {
    /// Notes a key of an address. The seconds to wait, if it is not to be answered whether it was right.
    pub(super) fn note(&self, address: IpAddr, is_right: bool, now: Instant) -> Result<(), u64> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if !table.contains_key(&address) && table.len() >= MAX_ADDRESSES {
            make_room(&mut table, now);
        }
        let guesses = table.entry(address).or_insert_with(|| Guesses::new(now));
        if let Some(until) = guesses.braked_until.filter(|until| now < *until)
            && !(is_right && (address.is_loopback() || guesses.is_known(now)))
        {
            return Err((until - now).as_secs() + 1);
        }
        if is_right {
            guesses.known_until = Some(now + KNOWN);
            return Ok(());
        }
        if now.duration_since(guesses.since) >= WINDOW || guesses.braked_until.take().is_some() {
            (guesses.since, guesses.wrong) = (now, 0);
        }
        guesses.wrong += 1;
        if guesses.wrong >= MAX_WRONG {
            guesses.braked_until = Some(now + BRAKED);
        }
        Ok(())
    }
}

/// Forgets addresses: those from which nothing follows, or the one that began first.
fn make_room(table: &mut HashMap<IpAddr, Guesses>, now: Instant) {
    table.retain(|_, guesses| !guesses.is_over(now));
    if table.len() >= MAX_ADDRESSES {
        let first = table.iter().min_by_key(|(_, guesses)| guesses.since).map(|(address, _)| *address);
        first.map(|address| table.remove(&address));
    }
}

/// The address that is counted: of IPv6 the network of 64 bits, as a guest may choose any in it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(brake: &GuessBrake, address: &str, times: u32, now: Instant) {
        for _ in 0..times {
            let _ = brake.note(address.parse().unwrap(), false, now);
        }
    }

    #[test]
    fn an_address_that_guesses_must_wait_even_with_the_right_key() {
        let (brake, now) = (GuessBrake::default(), Instant::now());
        let note = |address: &str, is_right, now| brake.note(address.parse().unwrap(), is_right, now);
        guess(&brake, "10.0.0.1", MAX_WRONG - 1, now);
        assert_eq!(note("10.0.0.1", false, now), Ok(()));
        for is_right in [false, true] {
            assert_eq!(note("10.0.0.1", is_right, now), Err(61));
            // Trying on does not make it longer.
            assert_eq!(note("10.0.0.1", is_right, now + BRAKED / 2), Err(31));
        }
        assert_eq!(note("10.0.0.2", true, now), Ok(()));
        assert_eq!(note("10.0.0.1", true, now + BRAKED), Ok(()));
        // A few mistakes a minute are nothing.
        for minute in 0..10 {
            guess(&brake, "10.0.0.3", MAX_WRONG - 1, now + WINDOW * minute);
        }
        assert_eq!(note("10.0.0.3", true, now + WINDOW * 9), Ok(()));
    }

    #[test]
    fn guests_behind_a_proxy_do_not_lock_each_other_out() {
        let (brake, now) = (GuessBrake::default(), Instant::now());
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1"] {
            let note = |is_right, now| brake.note(address.parse().unwrap(), is_right, now);
            if address == "10.0.0.1" {
                assert_eq!(note(true, now), Ok(()));
            }
            guess(&brake, address, MAX_WRONG, now);
            assert!(note(false, now).is_err() && note(true, now).is_ok(), "{address}");
            assert!(note(false, now).is_err());
        }
    }

    #[test]
    fn a_network_is_one_guest_and_the_table_has_a_maximum() {
        let (brake, now) = (GuessBrake::default(), Instant::now());
        for i in 0..MAX_WRONG {
            assert!(brake.note(format!("2001:db8::{i}").parse().unwrap(), false, now).is_ok());
        }
        assert!(brake.note("2001:db8::ffff".parse().unwrap(), true, now).is_err());
        assert!(brake.note("2001:db8:0:1::1".parse().unwrap(), true, now).is_ok());
        for i in 0..2 * MAX_ADDRESSES as u32 {
            assert!(brake.note(IpAddr::from(i.to_be_bytes()), false, now).is_ok());
        }
        assert!(brake.0.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
